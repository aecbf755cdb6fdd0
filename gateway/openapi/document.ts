import { z } from "zod";
import { openApiSchemas } from "#program/openapi";
import { outcomeKinds } from "../buy/outcome.ts";
import { errorFrameSchema, outcomeFrameSchema, statusFrameSchema } from "../live/frame-schemas.ts";
import { upSchema } from "../live/frames.ts";
import type { DocumentedRoute, GoodAnswer, Headers, Refusal } from "./documented-route.ts";
import { documentedRoutes } from "./routes.ts";
import { idSchema, problemSchema, purchaseSchema, saleSchema, standingSchema, ticketSchema } from "./schemas.ts";

const { components, of } = openApiSchemas({
  Id: idSchema,
  Ticket: ticketSchema,
  Purchase: purchaseSchema,
  Standing: standingSchema,
  Problem: problemSchema,
  Sale: saleSchema,
  BuyFrame: upSchema,
  OutcomeFrame: outcomeFrameSchema,
  StatusFrame: statusFrameSchema,
  ErrorFrame: errorFrameSchema,
});

const headerComponents = {
  RetryAfter: {
    description: "whole seconds; absent where asking again makes no difference",
    schema: { type: "integer", minimum: 1 },
  },
  Time: { description: "the server's wall clock, ms since 1970, for count-downs", schema: { type: "integer" } },
};

const headersOf = (headers: Headers): unknown =>
  Object.fromEntries(
    Object.entries(headers).map(([name, header]) => {
      if (typeof header === "string") return [name, { $ref: `#/components/headers/${header}` }];
      const { description, ...schema } = of(header);
      return [name, { ...(description === undefined ? {} : { description }), schema }];
    }),
  );

const answer = (description: string, type: string, schema: z.ZodType | undefined, headers: Headers): unknown => ({
  description,
  ...(schema === undefined ? {} : { content: { [type]: { schema: of(schema) } } }),
  ...(Object.keys(headers).length === 0 ? {} : { headers: headersOf(headers) }),
});

const withCodes = (schema: z.ZodType, codes: readonly string[]): z.ZodType => z.intersection(schema, z.object({ code: z.enum(codes) }));

const good = ({ description, schema, codes, headers = {} }: GoodAnswer): unknown =>
  answer(description, "application/json", schema === undefined || codes === undefined ? schema : withCodes(schema, codes), headers);

/** All problems of one status: they share media type and headers. */
const problems = (status: number, refusals: readonly Refusal[]): unknown => {
  const those = refusals.filter((refusal) => refusal.status === status);
  const codes = those.map(({ code }) => code);
  const meanings = new Set(those.map(({ meaning }) => meaning));
  return answer([...meanings].join("; "), "application/problem+json", withCodes(problemSchema, codes), {
    ...(codes.some((code) => outcomeKinds[code].retryable) ? { "Retry-After": "RetryAfter" } : {}),
    ...(status === 401 ? { "WWW-Authenticate": z.literal("Ticket") } : {}),
  });
};

/** A page that wants no preflight sends the same JSON as text. */
const requestContent = (schema: z.ZodType): unknown => ({
  "application/json": { schema: of(schema) },
  "text/plain": { schema: of(schema) },
});

const operation = ({ operationId, summary, description, parameters = [], body, good: goodAnswers, refusals, frames }: DocumentedRoute) => ({
  operationId,
  summary,
  ...(description === undefined ? {} : { description }),
  ...(parameters.length === 0 ? {} : { parameters: parameters.map(({ schema, ...named }) => ({ ...named, schema: of(schema) })) }),
  ...(body === undefined ? {} : { requestBody: { required: false, content: requestContent(body) } }),
  responses: Object.fromEntries([
    ...goodAnswers.map((described) => [described.status, good(described)] as const),
    ...[...new Set(refusals.map(({ status }) => status))].map((status) => [status, problems(status, refusals)] as const),
  ]),
  ...(frames === undefined ? {} : { "x-frames": { up: frames.up.map(of), down: frames.down.map(of) } }),
});

/** The OpenAPI document of the buyers' routes, as the text of gateway/openapi.json. */
export const gatewayDocument = (): string => {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of documentedRoutes) paths[route.path] = { ...paths[route.path], [route.method]: operation(route) };
  const document = {
    openapi: "3.1.0",
    info: {
      title: "Doorbuster gateway",
      version: "0.1.0",
      license: { name: "MIT", identifier: "MIT" },
      description:
        "Buying in a flash sale. Match on `code`, never on text. A time-out means unknown: ask again, a first answer stands. Every other path answers 404 `not_found`, every other method 405 `bad_request` with Allow, and OPTIONS 204. Answers of `/buy` and `/live` can be read by pages of the gateway's own origin and of DOORBUSTER_ALLOWED_ORIGINS, all others by every page.",
    },
    paths,
    components: { headers: headerComponents, schemas: components() },
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
};
