import bearerAuth from "@fastify/bearer-auth";
import type { FastifyInstance, FastifyReply, FastifySchema } from "fastify";
import type { Registry } from "prom-client";
import { z } from "zod";
import { isAccepted } from "#program/bearer-tokens";
import type { Random } from "#protocol/ports";
import { DtmResult } from "../dtm-result.ts";
import { failed, type ApiAnswer } from "./answer.ts";
import { failureSchema, newGidSchema, pongSchema, versionSchema } from "./answer-schemas.ts";
import { callRoutes, type CallPorts } from "./calls.ts";
import { listRoutes } from "./list-routes.ts";
import { BadMessage } from "./message-body.ts";
import { acceptDocumentSchemas, answers, BODY_BYTES_MOST, plainRoute, type DocumentedSchema, type MessageRoute } from "./message-route.ts";
import type { MessageMetrics } from "./metrics.ts";
import { topicRoutes } from "./topic-routes.ts";

export interface MessageApi extends CallPorts {
  readonly random: Random;
  readonly metrics: MessageMetrics;
  readonly registry: Registry;
  readonly version: string;
  /** resolves when the stores can be asked, or should have been able to be */
  readonly started: () => Promise<void>;
  /** asked at each call, which must show one of them; undefined = open */
  readonly tokens: (() => readonly string[]) | undefined;
  /** called with what was answered 500 */
  readonly fault: (error: unknown) => void;
}

const faultAnswerOf =
  (fault: (error: unknown) => void) =>
  (error: unknown): ApiAnswer => {
    if (error instanceof BadMessage) return failed(400, error.message);
    const status = (error as { statusCode?: unknown }).statusCode;
    if (status === 401) return failed(401, "a bearer token is needed");
    if (status === 413) return failed(413, `the body must have at most ${BODY_BYTES_MOST} bytes`);
    if (status === 400 || status === 415) return failed(400, "the body must be JSON");
    fault(error);
    // the store may have done it all the same: asking again tells
    return { status: 500, body: { message: "the outcome is unknown, repeat the call" } };
  };

const send = (reply: FastifyReply, answer: ApiAnswer): FastifyReply => reply.code(answer.status).send(answer.body);

/** dtm's clients in other languages send JSON under any content type, or none. */
const takeJson = (scope: FastifyInstance): void => {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", { parseAs: "string", bodyLimit: BODY_BYTES_MOST }, (_request, text, done) => {
    try {
      done(null, JSON.parse(text as string));
    } catch {
      done(new BadMessage("the body must be JSON"));
    }
  });
};

/**
 * Services call, pages do not. A page of anybody's could make the browser of whoever reaches the port send any body as text: it
 * would read no answer, but the message would be sent. Browsers say Origin or Sec-Fetch-Site with all that a page sends; who
 * types an address says `none`.
 */
const refusePages = (scope: FastifyInstance): void => {
  scope.addHook("onRequest", async ({ headers }, reply) => {
    const site = headers["sec-fetch-site"] ?? "none";
    if (headers.origin !== undefined || site !== "none")
      await send(reply, failed(403, "services call this API, pages in a browser do not"));
  });
};

/** `Bearer` in this case; more than one space may follow it, as RFC 9110 (11.4) has it. Compared in constant time. */
const needToken = async (scope: FastifyInstance, tokens: () => readonly string[]): Promise<void> => {
  await scope.register(bearerAuth, { keys: [], auth: (token: string) => isAccepted(token, tokens()), addHook: false });
  if (scope.verifyBearerAuth === undefined) throw new Error("the check of the token is not loaded");
  scope.addHook("onRequest", scope.verifyBearerAuth);
};

const metricsSchema: DocumentedSchema = {
  operationId: "metrics",
  summary: "Metrics for Prometheus",
  response: {
    ...answers(failureSchema, [401, 403]),
    200: { description: "Text format", content: { "text/plain": { schema: z.string() } } },
  },
};
/** Not in openapi.json. */
const HIDDEN: FastifySchema & { readonly hide: true } = { hide: true };
const pingSchema: DocumentedSchema = {
  operationId: "ping",
  summary: "Alive; takes any method, and needs no token",
  security: [],
  response: answers(pongSchema, []),
};

const aboutRoutes = ({ version, random }: MessageApi): readonly MessageRoute[] => [
  plainRoute("GET", "/version", { operationId: "version", summary: "Which server this is", done: versionSchema }, () => ({
    status: 200,
    body: { version },
  })),
  plainRoute("GET", "/newGid", { operationId: "newGid", summary: "A gid that nobody has", done: newGidSchema }, () => ({
    status: 200,
    body: { gid: random.nonce(), dtm_result: DtmResult.success },
  })),
];

/**
 * dtm's HTTP API for two-phase messages (prefix `/api/dtmsvr`), the operator's calls on dead letters, and our client's
 * bulk call. openapi.json beside this file is written from the schemas that read the requests (`npm run openapi`).
 */
export const messageRoutes = (app: FastifyInstance, api: MessageApi): void => {
  const faultAnswer = faultAnswerOf(api.fault);
  const add = (scope: FastifyInstance, { method, path, schema, run }: MessageRoute): void => {
    const call = path.split("/")[1] as string;
    scope.route({
      method,
      url: `/api/dtmsvr${path}`,
      bodyLimit: BODY_BYTES_MOST,
      schema,
      handler: async (request, reply) => {
        const timed = api.metrics.duration.startTimer({ call });
        await api.started();
        const answer = await Promise.resolve(request).then(run).catch(faultAnswer);
        timed();
        api.metrics.answers.inc({ call, status: answer.status });
        return send(reply, answer);
      },
    });
  };
  void app.register(async (scope) => {
    scope.setErrorHandler((error, _request, reply) => send(reply, faultAnswer(error)));
    takeJson(scope);
    acceptDocumentSchemas(scope);
    refusePages(scope);
    if (api.tokens !== undefined) await needToken(scope, api.tokens);
    for (const route of [
      ...aboutRoutes(api),
      ...callRoutes(api, faultAnswer),
      ...listRoutes(api.messages),
      ...topicRoutes(api.topics, api.callable),
    ])
      add(scope, route);
    scope.get("/api/metrics", { schema: metricsSchema }, async (_request, reply) =>
      reply.type(api.registry.contentType).send(await api.registry.metrics()),
    );
  });
  void app.register(async (open) => {
    acceptDocumentSchemas(open);
    const pong = async () => ({ msg: "pong" });
    open.get("/api/ping", { schema: pingSchema }, pong);
    const others = app.supportedMethods.filter((method) => method !== "GET" && method !== "HEAD");
    open.route({ method: others, url: "/api/ping", schema: HIDDEN, handler: pong });
  });
};
