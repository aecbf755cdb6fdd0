import bearerAuth from "@fastify/bearer-auth";
import fastify, { type FastifyInstance } from "fastify";
import { z } from "zod";
import type { AboutOrder } from "#program/about-order";
import { isAccepted } from "#program/bearer-tokens";
import { operation, zodRoutes } from "#program/zod-routes";
import { RequestError } from "#protocol/requests";
import { answers } from "./answers.ts";
import { orderRoutes } from "./order-routes.ts";
import { refuse, UNAUTHORIZED } from "./problem.ts";
import { saleRoutes } from "./sale-routes.ts";
import { shardRoutes } from "./shard-routes.ts";
import type { WorkerRequests } from "./worker-requests.ts";

export interface AdminOptions {
  /** asked at each request: one of them is the credential */
  readonly tokens: () => readonly string[];
  readonly workers: WorkerRequests;
  /** what broke while a request was handled, and about which order it was */
  readonly onFault: (error: unknown, about: AboutOrder) => void;
  /** called with each route when it is made */
  readonly onRoute?: (method: string, path: string) => void;
}

const BODY_BYTES = 16_384;

const health = operation({
  operationId: "health",
  summary: "The admin API is alive",
  security: [],
  response: answers({ description: "alive", schema: z.object({ status: z.literal("alive") }) }, []),
});
/**
 * Every address but /healthz wants the credential, also those where there is nothing. The token is compared in constant
 * time; `Bearer` may be in any case and more than one space may follow it, as RFC 9110 (11.1, 11.4) has it.
 */
const needToken = (app: FastifyInstance, tokens: AdminOptions["tokens"]): void => {
  const auth = (token: string): boolean => isAccepted(token, tokens());
  void app.register(bearerAuth, { keys: [], auth, addHook: false, specCompliance: "rfc6749" });
  app.addHook("onRequest", (request, reply, done) => {
    if (request.routeOptions.url === "/healthz") done();
    else if (app.verifyBearerAuth === undefined) done(new Error("the check of the credential is not loaded"));
    else app.verifyBearerAuth(request, reply, done);
  });
};

const handleErrors = (app: FastifyInstance, onFault: AdminOptions["onFault"]): void => {
  app.setNotFoundHandler((_request, reply) => refuse(reply, 404, RequestError.notFound, "There is nothing at this address."));
  app.setErrorHandler((error: { statusCode?: number; message?: string }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status === 401) return refuse(reply, 401, UNAUTHORIZED, "Authorization: Bearer <admin token> is needed.");
    if (status >= 400 && status < 500) return refuse(reply, status, RequestError.badRequest, error.message ?? "");
    const { orderId: order } = request.params as { readonly orderId?: string };
    onFault(error, order === undefined ? {} : { order });
    return refuse(reply, 500, "fault", "The request could not be handled; what it asked may or may not have been done.");
  });
};

/** The routes alone, each with the schemas that read it and describe it. */
export const mountAdmin = (app: FastifyInstance, { workers }: Pick<AdminOptions, "workers">): void => {
  const server = zodRoutes(app);
  app.get("/healthz", { schema: health }, () => ({ status: "alive" }));
  saleRoutes(server, workers);
  shardRoutes(server, workers);
  orderRoutes(server, workers);
};

/**
 * The operators' API, on its own port with its own credential: sales, shards and orders, and `GET /healthz`
 * without the credential. openapi.json beside this file is written from the schemas of its routes (`npm run openapi`).
 */
export const createAdmin = ({ tokens, workers, onFault, onRoute }: AdminOptions): FastifyInstance => {
  const app = fastify({ logger: false, bodyLimit: BODY_BYTES, forceCloseConnections: true });
  app.addHook("onRoute", ({ method, url }) => onRoute?.(String(method), url));
  app.addHook("onSend", async (_request, reply) => {
    void reply.header("cache-control", "no-store").header("x-content-type-options", "nosniff");
  });
  needToken(app, tokens);
  handleErrors(app, onFault);
  mountAdmin(app, { workers });
  return app;
};
