import { fastify, type FastifyInstance, type FastifySchema } from "fastify";
import { Registry } from "prom-client";

export interface ProgramStatus {
  /** what `/healthz` says while the process answers at all; default `{ ok: true }` */
  readonly alive?: Readonly<Record<string, unknown>>;
  /** what `/readyz` says: 200 if `ok`, else 503, and in `settings` what is set up wrongly (setting-problems.ts); undefined = there is no such route */
  readonly ready?: () => { readonly ok: boolean } & Readonly<Record<string, unknown>>;
  /** Prometheus's text format, of all that is counted; several registries are put together by joining their texts */
  readonly metrics: () => Promise<string>;
  /** what an OpenAPI document says of the routes; undefined = no document has them */
  readonly documented?: { readonly health: FastifySchema; readonly metrics: FastifySchema };
}

/** Adds `GET /healthz`, `/readyz` and `/metrics` to a server that does not listen yet. */
export const statusRoutes = (app: FastifyInstance, { alive = { ok: true }, ready, metrics, documented }: ProgramStatus): void => {
  app.get("/healthz", { schema: documented?.health ?? {} }, () => alive);
  if (ready !== undefined) {
    app.get("/readyz", (_request, reply) => {
      const state = ready();
      return reply.code(state.ok ? 200 : 503).send(state);
    });
  }
  app.get("/metrics", { schema: documented?.metrics ?? {} }, async (_request, reply) =>
    reply.type(Registry.PROMETHEUS_CONTENT_TYPE).send(await metrics()),
  );
};

/** A server of health and metrics alone; routes may be added until it listens. */
export const createStatusServer = (status: ProgramStatus): FastifyInstance => {
  const app = fastify({ logger: false });
  statusRoutes(app, status);
  return app;
};
