import { randomBytes } from "node:crypto";
import { Client } from "pg";
import { inject } from "vitest";

/** A database of a test's own, on the one Postgres of the whole run. */
export interface TestDatabase {
  readonly url: string;
  drop(): Promise<void>;
}

declare module "vitest" {
  interface ProvidedContext {
    /** where the run's Postgres is asked for (global-setup.ts) */
    readonly postgresDoor: string;
  }
}

/** What the door answers. */
export interface PostgresDoor {
  /** of the database `doorbuster`, as superuser */
  readonly url: string;
  /** name of the template to copy: Postgres's empty one, or the migrated one */
  readonly template: string;
}

const atDatabase = (url: string, name: string): string => {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
};

const execute = async (url: string, sql: string): Promise<void> => {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
};

const ask = async (path: "/" | "/template"): Promise<PostgresDoor> => {
  const response = await fetch(new URL(path, inject("postgresDoor")), { headers: { connection: "close" } });
  const text = await response.text();
  if (!response.ok) throw new Error(`the run's Postgres did not start: ${text}`);
  return JSON.parse(text) as PostgresDoor;
};

const createDatabase = async ({ url, template }: PostgresDoor): Promise<TestDatabase> => {
  const name = `test_${randomBytes(8).toString("hex")}`;
  await execute(url, `create database ${name} template ${template}`);
  return {
    url: atDatabase(url, name),
    drop: () => execute(url, `drop database if exists ${name} with (force)`),
  };
};

/** A new database with all migrations applied. */
export const freshDatabase = async (): Promise<TestDatabase> => createDatabase(await ask("/template"));

/** A new database with nothing in it. */
export const emptyDatabase = async (): Promise<TestDatabase> => createDatabase(await ask("/"));

/** How many transactions of this database wait for an advisory lock. */
export const waitingForLocks = async (sql: (text: string) => Promise<{ readonly rows: readonly unknown[] }>): Promise<number> =>
  (
    await sql(
      "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
  ).rows.length;
