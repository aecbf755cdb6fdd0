import swagger from "@fastify/swagger";
import { fastify, type FastifyInstance } from "fastify";
import { z } from "zod";
import { openApiSchemas } from "../../coordinator/program/openapi.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Every zod schema in a value, written as a JSON Schema. */
const written = (value: unknown, of: (schema: z.ZodType) => unknown): unknown => {
  if (value instanceof z.ZodType) return of(value);
  if (Array.isArray(value)) return value.map((item) => written(item, of));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, written(item, of)]));
};

export interface DocumentParts {
  readonly info: Fields;
  readonly security: readonly Fields[];
  readonly securitySchemes: Fields;
  readonly servers?: readonly Fields[];
  /** schemas that are components, by their names */
  readonly named: Readonly<Record<string, z.ZodType>>;
  /** adds the routes, with zod schemas */
  readonly mount: (app: FastifyInstance) => void;
}

/** The OpenAPI document of a fastify program, as the text of its file: from the routes that are mounted and their schemas. */
export const openApiDocument = async ({ info, security, securitySchemes, servers, named, mount }: DocumentParts): Promise<string> => {
  const { components, of } = openApiSchemas(named);
  const app = fastify();
  await app.register(swagger, {
    openapi: { openapi: "3.1.0", info, security, ...(servers === undefined ? {} : { servers }), components: { securitySchemes } } as never,
    transform: ({ schema, url }) => ({ schema: written(schema ?? {}, of) as never, url }),
    transformObject: (document) => {
      if (!("openapiObject" in document)) throw new Error("not an OpenAPI document");
      const { openapiObject } = document;
      return { ...openapiObject, components: { ...openapiObject.components, schemas: components() } } as never;
    },
  });
  mount(app);
  await app.ready();
  const text = `${JSON.stringify(app.swagger(), undefined, 2)}\n`;
  await app.close();
  return text;
};
