import { runProgram } from "#program";
import { applyMigrations } from "./db/database.ts";

/** Brings the database to the current tables and ends; run once before the programs start. */
await runProgram("migrate", ["DATABASE_URL", "DATABASE_CA_FILE"], async ({ config, log }) => {
  const applied = await applyMigrations(config.DATABASE_URL, config.DATABASE_CA_FILE);
  log.info({ applied }, "the database is up to date");
});
