import type { FastifyBaseLogger, FastifyInstance, FastifySchema, FastifyTypeProvider, RawServerDefault } from "fastify";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { z } from "zod";
import { issuesText } from "#protocol/zod-issues";

/** Types of a request by the zod schemas of its route: as they are read, with defaults filled in. */
interface ZodTypes extends FastifyTypeProvider {
  readonly validator: this["schema"] extends z.ZodType ? z.output<this["schema"]> : unknown;
}

/** A server whose routes have zod schemas: they read the request, and the OpenAPI document is written from them. */
export type ZodServer = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, ZodTypes>;

/** What a route says of itself in the document, beside its schemas. */
export interface Operation extends FastifySchema {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  /** instead of the document's own: `[]` for a route that needs no credential */
  readonly security?: readonly [];
}

/** A route's `schema`, with the types of what it reads. */
export const operation = <T extends Operation>(schema: T): T => schema;

/**
 * Makes a server's routes read path, query and body by zod schemas: everything that is wrong with one of them becomes one
 * error of status 400, a clause each. Answers are written as they are: what they say is checked where they are made.
 */
export const zodRoutes = (app: FastifyInstance): ZodServer => {
  app.setValidatorCompiler<z.ZodType>(({ schema }) => (value) => {
    const read = schema.safeParse(value);
    return read.success ? { value: read.data } : { error: new Error(issuesText(read.error)) };
  });
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  return app.withTypeProvider<ZodTypes>();
};
