import fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { z } from "zod";
import { addUnitsSchema, changeSaleSchema, RequestError, type Reply } from "#protocol/requests";
import { changeOrderSchema, orderAddressSchema, OrderChange, payOrderSchema } from "#protocol/order";
import { openSaleSchema } from "#protocol/sale";
import { ShardChange } from "#protocol/shard-facts";
import { bearerCheck } from "./bearer.ts";
import type { WorkerRequests } from "./worker-requests.ts";

export interface AdminOptions {
  readonly token: string;
  readonly workers: WorkerRequests;
  /** Prometheus text of all processes */
  readonly metrics: () => Promise<string>;
  /** what broke while a request was handled */
  readonly onFault: (error: unknown) => void;
  /** called with each route when it is made */
  readonly onRoute?: (method: string, path: string) => void;
}

const STATUS: Readonly<Record<RequestError, number>> = {
  bad_request: 400,
  not_found: 404,
  conflict: 409,
  overtaken: 409,
  unavailable: 503,
};
const TITLES: Readonly<Record<number, string>> = {
  400: "The request is malformed",
  401: "The credential is missing or wrong",
  404: "Not found",
  409: "Conflict with what is there",
  413: "The request is too large",
  415: "The body must be application/json",
  500: "Something broke",
  503: "A store is away",
};
const BODY_BYTES = 16_384;
/** Prometheus's text format. */
const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

const refuse = (reply: FastifyReply, status: number, code: string, detail: string): FastifyReply => {
  if (status === 503) void reply.header("retry-after", "1");
  if (status === 401) void reply.header("www-authenticate", "Bearer");
  return reply
    .code(status)
    .type("application/problem+json")
    .send(JSON.stringify({ code, title: TITLES[status] ?? "Refused", status, detail }));
};

const forward = <T>(reply: FastifyReply, answer: Reply<T>, status = 200): FastifyReply =>
  answer.ok ? reply.code(status).send(answer.value) : refuse(reply, STATUS[answer.code], answer.code, answer.detail);

/** Everything that is wrong with a body at once, one clause each. */
const read = <T>(reply: FastifyReply, schema: z.ZodType<T>, body: unknown): T | undefined => {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const detail = parsed.error.issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`).join("; ");
  void refuse(reply, 400, RequestError.badRequest, detail);
  return undefined;
};

const shardNumber = z
  .string()
  .regex(/^\d{1,5}$/, "not the number of a shard")
  .transform(Number);
/** What cannot be taken back is asked for twice. */
const consent = z.strictObject({ loseUnconfirmed: z.literal(true) });

const asObject = (body: unknown): Record<string, unknown> =>
  typeof body === "object" && body !== null && !Array.isArray(body) ? (body as Record<string, unknown>) : {};

/**
 * The operators' API, on its own port with its own credential: `GET /metrics`, `GET /sales`, `POST /sales`,
 * `POST /sales/:id/state`, `POST /sales/:id/units`, `GET /sales/:id`, `GET /shards`, `POST /shards/:shard/<change>`;
 * `GET /healthz` without the credential. openapi.json beside this file describes it.
 */
export const createAdmin = ({ token, workers, metrics, onFault, onRoute }: AdminOptions): FastifyInstance => {
  const app = fastify({ logger: false, bodyLimit: BODY_BYTES, forceCloseConnections: true });
  const isAdmin = bearerCheck(token);
  app.addHook("onRoute", ({ method, url }) => onRoute?.(String(method), url));
  app.addHook("onSend", async (_request, reply) => {
    void reply.header("cache-control", "no-store").header("x-content-type-options", "nosniff");
  });
  app.addHook("onRequest", async (request, reply) => {
    if (request.routeOptions.url === "/healthz" || isAdmin(request.headers.authorization)) return undefined;
    return refuse(reply, 401, "unauthorized", "Authorization: Bearer <admin token> is needed.");
  });
  app.setNotFoundHandler((_request, reply) => refuse(reply, 404, RequestError.notFound, "There is nothing at this address."));
  app.setErrorHandler((error: { statusCode?: number; message?: string }, _request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 400 && status < 500) return refuse(reply, status, RequestError.badRequest, error.message ?? "");
    onFault(error);
    return refuse(reply, 500, "fault", "The request could not be handled; what it asked may or may not have been done.");
  });

  app.get("/healthz", () => ({ status: "alive" }));
  app.get("/metrics", async (_request, reply) => reply.type(METRICS_TYPE).send(await metrics()));
  app.get("/sales", async (_request, reply) => forward(reply, await workers.list()));
  app.post("/sales", async (request, reply) => {
    const sale = read(reply, openSaleSchema, request.body);
    return sale === undefined ? reply : forward(reply, await workers.open(sale), 201);
  });
  app.post<{ Params: { id: string } }>("/sales/:id/state", async (request, reply) => {
    const change = read(reply, changeSaleSchema, { ...asObject(request.body), id: request.params.id });
    return change === undefined ? reply : forward(reply, await workers.change(change));
  });
  app.post<{ Params: { id: string } }>("/sales/:id/units", async (request, reply) => {
    const units = read(reply, addUnitsSchema, { ...asObject(request.body), saleId: request.params.id });
    return units === undefined ? reply : forward(reply, await workers.addUnits(units));
  });
  app.get<{ Params: { id: string } }>("/sales/:id", async (request, reply) => {
    const answer = await workers.list();
    if (!answer.ok) return forward(reply, answer);
    const sale = answer.value.find(({ id }) => id === request.params.id);
    return sale === undefined ? refuse(reply, 404, RequestError.notFound, `There is no sale ${request.params.id}.`) : reply.send(sale);
  });
  app.get<{ Params: { orderId: string } }>("/orders/:orderId", async (request, reply) => {
    const address = read(reply, orderAddressSchema, { ...asObject(request.query), ...request.params });
    return address === undefined ? reply : forward(reply, await workers.order(address));
  });
  app.post<{ Params: { orderId: string } }>("/orders/:orderId/payments", async (request, reply) => {
    const pay = read(reply, payOrderSchema, { ...asObject(request.body), ...request.params });
    return pay === undefined ? reply : forward(reply, await workers.payOrder(pay));
  });
  for (const change of Object.values(OrderChange)) {
    app.post<{ Params: { orderId: string } }>(`/orders/:orderId/${change}`, async (request, reply) => {
      const asked = read(reply, changeOrderSchema, { ...asObject(request.body), ...request.params, change });
      return asked === undefined ? reply : forward(reply, await workers.changeOrder(asked));
    });
  }
  app.get("/shards", async (_request, reply) => forward(reply, await workers.shards()));
  for (const change of Object.values(ShardChange)) {
    app.post<{ Params: { shard: string } }>(`/shards/:shard/${change}`, async (request, reply) => {
      const shard = read(reply, shardNumber, request.params.shard);
      if (shard === undefined) return reply;
      if (change === ShardChange.discard && read(reply, consent, request.body) === undefined) return reply;
      return forward(reply, await workers.changeShard({ shard, change }));
    });
  }
  return app;
};
