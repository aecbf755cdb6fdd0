import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, expect, it } from "vitest";
import { settingProblems } from "#program/setting-problems";
import { freshDatabase, hasPgBouncer, startPgBouncer, type TestDatabase } from "../../test/harness/index.ts";
import { connectDatabase } from "./database.ts";
import { DatabaseSettings } from "./settings.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await freshDatabase();
});
afterAll(async () => {
  await database.drop();
});

const problems = settingProblems(pino({ level: "silent" }), new Registry());

/** What is found on connections made from now on, of the settings that the run's Postgres does not have by itself. */
const look = async (sessionIs: string, pool = 1, url = database.url): Promise<{ isSound: boolean; found: readonly string[] }> => {
  const own = await connectDatabase({ url: database.url, pool: 1, name: "test" });
  try {
    const name = new URL(database.url).pathname.slice(1);
    if (sessionIs !== "") await own.sql(`ALTER DATABASE ${name} SET ${sessionIs}`);
    const seen = await connectDatabase({ url, pool: 1, name: "test" });
    try {
      const isSound = await new DatabaseSettings(
        seen,
        { DATABASE_CA_FILE: undefined, DATABASE_URL: url, DOORBUSTER_DATABASE_POOL: pool, DOORBUSTER_WORKER_PROCESSES: 1 },
        problems,
      ).isSound();
      const found = problems.all().map(({ setting, found: value, verdict }) => `${verdict} ${setting} ${value}`);
      // the tests' own server does not flush
      return { isSound, found: found.filter((line) => line !== "warn fsync off") };
    } finally {
      await seen.close();
    }
  } finally {
    await own.close();
  }
};

it("is sound as it is made, and says what is not flushed", async () => {
  expect(await look("")).toEqual({ isSound: true, found: [] });
  expect(problems.all()).toMatchObject([{ place: "Postgres", setting: "fsync", found: "off", wanted: "on", verdict: "warn" }]);
});

const isThere = await hasPgBouncer();
if (!isThere) console.warn("skipped: a PgBouncer that deals out single statements (Debian's package pgbouncer is not installed)");

it.skipIf(!isThere)("is not sound behind a pool that has no transactions", async () => {
  const pool = await startPgBouncer({ databaseUrl: database.url, mode: "statement", sessions: 2 });
  try {
    expect((await look("", 1, pool.url)).found).toEqual(["refuse pool_mode statement"]);
  } finally {
    await pool.stop();
  }
});

it("is not sound where commits are not waited for, or nothing can be written; too few connections are said", async () => {
  expect(await look("synchronous_commit = off")).toEqual({ isSound: false, found: ["refuse synchronous_commit off"] });
  expect(await look("synchronous_commit = local")).toEqual({ isSound: true, found: [] });
  expect(await look("default_transaction_isolation = 'serializable'")).toEqual({ isSound: true, found: [] });
  expect(await look("", 5_000)).toEqual({ isSound: true, found: [expect.stringMatching(/^warn max_connections \d+$/)] });
  expect(await look("default_transaction_read_only = on")).toEqual({ isSound: false, found: ["refuse transaction_read_only on"] });
});
