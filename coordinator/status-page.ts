import { fastify, type FastifyInstance } from "fastify";
import type { Registry } from "prom-client";

export interface StatusPage {
  readonly registry: Registry;
  /** what is missing; empty if ready */
  readonly missing: () => readonly string[];
}

/** `/healthz` (alive), `/readyz` (every shard is looked after), `/metrics`. */
export const createStatusPage = ({ registry, missing }: StatusPage): FastifyInstance => {
  const page = fastify({ logger: false });
  page.get("/healthz", async () => ({ ok: true }));
  page.get("/readyz", async (_request, reply) => {
    const waitingFor = missing();
    return await reply.code(waitingFor.length === 0 ? 200 : 503).send({ ok: waitingFor.length === 0, waitingFor });
  });
  page.get("/metrics", async (_request, reply) => await reply.type(registry.contentType).send(await registry.metrics()));
  return page;
};
