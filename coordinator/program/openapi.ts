import { z } from "zod";

/** A JSON Schema as a part of an OpenAPI 3.1 document. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** What zod writes and no reader needs: the bounds of every `z.int()`, and a pattern beside the format of a time. */
const withoutNoise = (schema: { minimum?: number; maximum?: number; format?: string; pattern?: string }): void => {
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.format === "date-time") delete schema.pattern;
};

const plain = ({ $schema: _dialect, $id: _id, id: _name, ...schema }: JsonSchema): JsonSchema => schema;

/** A registry's id for a schema that the document does not name. */
const UNNAMED = "unnamed";

/**
 * Writes zod schemas as an OpenAPI document has them. A schema that is `named` is a component, and a reference to it
 * wherever it stands. All are written as they are read (zod's `input`): a field with a default may be left out.
 */
export const openApiSchemas = (
  named: Readonly<Record<string, z.ZodType>>,
): { readonly components: () => Record<string, JsonSchema>; readonly of: (schema: z.ZodType) => JsonSchema } => {
  const written = (more: Readonly<Record<string, z.ZodType>>): Record<string, JsonSchema> => {
    const registry = z.registry<{ id: string }>();
    for (const [id, schema] of Object.entries({ ...named, ...more })) registry.add(schema, { id });
    const { schemas } = z.toJSONSchema(registry, {
      io: "input",
      uri: (id) => `#/components/schemas/${id}`,
      override: ({ jsonSchema }) => withoutNoise(jsonSchema),
    });
    return schemas;
  };
  const idOf = new Map(Object.entries(named).map(([id, schema]) => [schema, id]));
  return {
    components: () => Object.fromEntries(Object.entries(written({})).map(([id, schema]) => [id, plain(schema)])),
    of: (schema) => {
      const id = idOf.get(schema);
      return id === undefined ? plain(written({ [UNNAMED]: schema })[UNNAMED] ?? {}) : { $ref: `#/components/schemas/${id}` };
    },
  };
};
