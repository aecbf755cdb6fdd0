import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Client } from "pg";
import type { TestProject } from "vitest/node";
import { startPostgres, type PostgresPart } from "../../deploy/local/index.ts";
import type { PostgresDoor } from "./database.ts";
import { binaries, joinRun, leaveRun } from "./run.ts";

const TEMPLATE = "doorbuster_template";

/** Makes the migrated database that test files copy. */
const makeTemplate = async (url: string): Promise<void> => {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(`create database ${TEMPLATE}`);
  await client.end();
  const template = new URL(url);
  template.pathname = `/${TEMPLATE}`;
  // Loaded only here: a run without databases does not wait for the mapper.
  const { applyMigrations } = await import("../../workers/index.ts");
  await applyMigrations(template.href);
};

const door = (answer: (path: string) => Promise<PostgresDoor>): Promise<Server> =>
  new Promise((resolve) => {
    const server = createServer((request, response) => {
      answer(request.url ?? "/").then(
        (value) => response.end(JSON.stringify(value)),
        (error: Error) => response.writeHead(500).end(error.message),
      );
    });
    server.listen(0, "127.0.0.1", () => resolve(server));
  });

/**
 * One Postgres for the whole run, started by the first file that asks for a database: a run without one does not
 * pay for it. vitest calls this before all files and the function that it returns after them.
 */
export const setup = async (project: TestProject): Promise<() => Promise<void>> => {
  // What is missing is installed here, once, and not by all test files at the same time.
  const programs = await binaries();
  const run = await joinRun();
  let postgres: Promise<PostgresPart> | undefined;
  let template: Promise<void> | undefined;
  // Tests kill processes, not machines: what was written survives without fsync.
  const open = (): Promise<PostgresPart> => startPostgres(run, { programs, fsync: false });
  const server = await door(async (path) => {
    const { url } = await (postgres ??= open());
    if (path !== "/template") return { url, template: "template1" };
    await (template ??= makeTemplate(url));
    return { url, template: TEMPLATE };
  });
  project.provide("postgresDoor", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return async () => {
    server.close();
    await (await postgres?.catch(() => undefined))?.part.stop();
    await leaveRun();
  };
};
