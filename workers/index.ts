/** The door of workers: what programs, tests and benches may use of it. */
export { applyMigrations, connectDatabase, ensureShards, type Database, type Sql } from "./db/database.ts";
export * from "./db/states.ts";
export * from "./audit/index.ts";
