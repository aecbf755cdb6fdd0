import cluster from "node:cluster";
import { availableParallelism } from "node:os";
import fastify, { type FastifyInstance } from "fastify";

/** How a peer's web process answers. */
export interface Shop {
  /** one unit for this buyer: `won` is answered when it is as durable as the peer makes it */
  buy(uid: string): Promise<"won" | "sold_out">;
  /** empties the shop and puts `units` on sale */
  restock(units: number): Promise<void>;
}

/** With a schema Fastify writes the answer without looking at each value's type. */
const SCHEMA = {
  response: { 202: { $ref: "answer#" }, 409: { $ref: "answer#" } },
};
const routes = (app: FastifyInstance, shop: Shop): void => {
  app.addSchema({ $id: "answer", type: "object", properties: { code: { type: "string" } } });
  app.post<{ Params: { uid: string } }>("/buy/:uid", { schema: SCHEMA }, async (request, reply) => {
    const outcome = await shop.buy(request.params.uid);
    return reply.code(outcome === "won" ? 202 : 409).send({ code: outcome === "won" ? "reserved" : "sold_out" });
  });
  app.post<{ Querystring: { units: string } }>("/stock", (request) => shop.restock(Number(request.query.units)).then(() => ({ ok: true })));
  app.get("/healthz", () => ({ ok: true }));
};

/** Serves the shop by Fastify, one process a core as our gateway does, until standard input ends. */
export const serveShop = async (port: number, open: () => Promise<Shop>): Promise<void> => {
  if (cluster.isPrimary) {
    for (let core = 0; core < availableParallelism(); core += 1) cluster.fork();
    process.stdin.on("end", () => process.kill(process.pid, "SIGKILL")).resume();
    return;
  }
  const app = fastify();
  routes(app, await open());
  await app.listen({ host: "127.0.0.1", port });
};
