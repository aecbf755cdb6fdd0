/** A timestamp of Postgres as ms since 1970, in SQL. */
export const msOf = (column: string): string => `floor(extract(epoch FROM ${column}) * 1000)::bigint`;
