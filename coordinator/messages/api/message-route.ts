import type { FastifyInstance, FastifyRequest, FastifySchema } from "fastify";
import { z } from "zod";
import type { ApiAnswer } from "./answer.ts";
import { failureSchema, faultSchema, ongoingSchema } from "./answer-schemas.ts";
import { read } from "./message-body.ts";

type Status = ApiAnswer["status"];

export const BODY_BYTES_MOST = 1 << 20;

/** Where a route's one argument is. */
export type Place = "querystring" | "params" | "body";

/** What a route has for openapi.json: zod schemas where fastify's types say `unknown`. */
export interface DocumentedSchema extends FastifySchema {
  readonly operationId: string;
  readonly summary: string;
  /** instead of the document's own: `[]` for a route that needs no token */
  readonly security?: readonly [];
}

/** A route of the API: what openapi.json says of it, and what it does. */
export interface MessageRoute {
  readonly method: "GET" | "POST" | "DELETE";
  /** below `/api/dtmsvr` */
  readonly path: string;
  readonly schema: DocumentedSchema;
  /** @throws BadMessage */
  readonly run: (request: FastifyRequest) => Promise<ApiAnswer>;
}

const MEANINGS: Readonly<Record<Status, string>> = {
  200: "Done",
  400: "The request is wrong; the message says how",
  401: "No bearer token, or a wrong one",
  403: "A page in a browser asks",
  404: "No such message",
  409: "The state forbids it",
  413: "The body is too large",
  425: "Going on",
  500: "A store did not answer: the outcome is unknown, repeat the call",
};

const bodyOf = (status: Status): z.ZodType => {
  if (status === 425) return ongoingSchema;
  return status === 500 ? faultSchema : failureSchema;
};

/** What a route answers: `done` with 200, and each of the refusals. */
export const answers = (done: z.ZodType, refusals: readonly Status[]): Readonly<Record<number, unknown>> =>
  Object.fromEntries(
    [200 as const, ...refusals].map((status) => [
      status,
      { description: MEANINGS[status], content: { "application/json": { schema: status === 200 ? done : bodyOf(status) } } },
    ]),
  );

export interface RouteFacts {
  readonly operationId: string;
  readonly summary: string;
  readonly done: z.ZodType;
  /** besides those that every route may answer */
  readonly refusals?: readonly (404 | 409 | 425)[];
}

const schemaOf = (facts: RouteFacts, place: Place | undefined, asked: z.ZodType | undefined): DocumentedSchema => {
  const { operationId, summary, done, refusals = [] } = facts;
  const tooLarge = place === "body" ? [413 as const] : [];
  return {
    operationId,
    summary,
    ...(place === undefined ? {} : { [place]: asked }),
    response: answers(done, [400, 401, 403, ...refusals, ...tooLarge, 500]),
  };
};

/** A route that is asked by nothing but its address. */
export const plainRoute = (method: MessageRoute["method"], path: string, facts: RouteFacts, run: () => ApiAnswer): MessageRoute => ({
  method,
  path,
  schema: schemaOf(facts, undefined, undefined),
  // oxlint-disable-next-line require-await -- answers like the others
  run: async () => run(),
});

/**
 * A route with one argument, in its query string, path or body.
 * @param asked reads the argument and describes it
 * @param described what describes it instead, if it is read part by part
 */
export const route = <T extends z.ZodType>(
  method: MessageRoute["method"],
  path: string,
  facts: RouteFacts,
  [place, asked, described = asked]: readonly [place: Place, asked: T, described?: z.ZodType],
  run: (argument: z.output<T>) => Promise<ApiAnswer>,
): MessageRoute => ({
  method,
  path,
  schema: schemaOf(facts, place, described),
  run: (request) => run(read(asked, request[place === "querystring" ? "query" : place])),
});

/** The routes' schemas read inside of `run`, which counts what they refuse; to fastify they are the document's. */
export const acceptDocumentSchemas = (app: FastifyInstance): void => {
  app.setValidatorCompiler(() => (value) => ({ value }));
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
};
