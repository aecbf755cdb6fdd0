import { fastify, type FastifyInstance } from "fastify";
import { Registry } from "prom-client";

export interface ProgramStatus {
  /** what `/readyz` says: 200 if `ok`, else 503, and in `settings` what is set up wrongly (setting-problems.ts) */
  readonly ready: () => { readonly ok: boolean } & Readonly<Record<string, unknown>>;
  /** Prometheus's text format, of all that is counted; several registries are put together by joining their texts */
  readonly metrics: () => Promise<string>;
}

/** Adds `GET /healthz` and `/readyz` to a server that does not listen yet. */
export const healthRoutes = (app: FastifyInstance, ready: ProgramStatus["ready"]): void => {
  app.get("/healthz", () => ({ ok: true }));
  app.get("/readyz", (_request, reply) => {
    const state = ready();
    return reply.code(state.ok ? 200 : 503).send(state);
  });
};

/** A server of health and metrics alone, for whoever runs the program: its address wants no credential, so it is never public. */
export const createStatusServer = ({ ready, metrics }: ProgramStatus): FastifyInstance => {
  const app = fastify({ logger: false });
  healthRoutes(app, ready);
  app.get("/metrics", async (_request, reply) => reply.type(Registry.PROMETHEUS_CONTENT_TYPE).send(await metrics()));
  return app;
};
