import { z } from "zod";

/**
 * A closed set of which a later version may know more. A text that is not in the set is read as `unknown`; anything that
 * is no text is not accepted. Only where `unknown` is safe to believe (README.md: what this version does not know).
 */
export const enumOr = <T extends Readonly<Record<string, string>>>(values: T, unknown: T[keyof T]): z.ZodPreprocess<z.ZodEnum<T>> => {
  const known: ReadonlySet<unknown> = new Set(Object.values(values));
  return z.preprocess((value) => (typeof value === "string" && !known.has(value) ? unknown : value), z.enum(values));
};

/** A closed set of which a later version may know more, where a person reads it and nothing is decided by it: as it is. */
export const shownAsIs = <T extends Readonly<Record<string, string>>>(values: T): z.ZodUnion<[z.ZodEnum<T>, z.ZodString]> =>
  z.union([z.enum(values), z.string()]);

/** A closed set of which a later version may know more, where none is safe to believe in place of one that is not known: undefined. */
export const ifKnown = <T extends Readonly<Record<string, string>>>(values: T): z.ZodPreprocess<z.ZodOptional<z.ZodEnum<T>>> => {
  const known: ReadonlySet<unknown> = new Set(Object.values(values));
  return z.preprocess((value) => (typeof value === "string" && !known.has(value) ? undefined : value), z.enum(values).optional());
};
