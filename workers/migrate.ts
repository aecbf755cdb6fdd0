import { runProgram } from "#program";
import { applyMigrations } from "./db/database.ts";

/** Brings the database to the current tables and ends; run once before the programs start. */
await runProgram("migrate", ["DATABASE_URL"], async ({ config, log }) => {
  const applied = await applyMigrations(config.DATABASE_URL);
  log.info({ applied }, "the database is up to date");
});
