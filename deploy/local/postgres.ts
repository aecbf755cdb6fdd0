import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { access, chown, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Client } from "pg";
import { Part } from "./part.ts";
import { onPort } from "./port.ts";
import { postgresReady } from "./probe.ts";
import type { Run } from "./run.ts";

const execute = promisify(execFile);

export interface PostgresOptions {
  readonly programs: { readonly postgres: string; readonly initdb: string };
  readonly dir?: string;
  readonly port?: number;
  /** false only for tests that look at logic alone: a killed process loses nothing, a power cut would */
  readonly fsync?: boolean;
  /** fills a database that was made anew: at the first start, and after its folder was taken away */
  readonly fill?: (url: string) => Promise<void>;
}

export interface PostgresPart {
  readonly part: Part;
  /** of the database `doorbuster`, as its owner and superuser */
  readonly url: string;
  readonly port: number;
  readonly dir: string;
}

const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 15_000;
const USER = "doorbuster";
const DATABASE = "doorbuster";

/** Postgres refuses to run as root, as PgBouncer does: Debian's own user for it, otherwise the one that owns nothing. */
export const serverUser = async (): Promise<{ uid: number; gid: number } | undefined> => {
  if (userInfo().uid !== 0) return undefined;
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  const entry = lines.find(([name]) => name === "postgres") ?? lines.find(([name]) => name === "nobody");
  if (entry === undefined) throw new Error("Postgres refuses to run as root, and this machine has neither a user postgres nor nobody");
  return { uid: Number(entry[2]), gid: Number(entry[3]) };
};

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Makes the data folder, unless it is there and whole. Resolves with whether it did. */
const prepareFolder = async (
  run: Run,
  dir: string,
  initdb: string,
  password: string,
  user: { uid: number; gid: number } | undefined,
): Promise<boolean> => {
  if (await exists(join(dir, "global", "pg_control"))) return false;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const passwordFile = join(dir, "..", `${randomBytes(6).toString("hex")}.password`);
  await writeFile(passwordFile, password, { mode: 0o600 });
  try {
    if (user !== undefined) {
      await chown(dir, user.uid, user.gid);
      await chown(passwordFile, user.uid, user.gid);
    }
    await execute(
      initdb,
      ["-D", dir, "-U", USER, `--pwfile=${passwordFile}`, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"],
      { cwd: "/", env: { PATH: run.environment["PATH"], LC_ALL: "C.UTF-8", DOORBUSTER_RUN: run.id }, ...user },
    );
  } catch (error) {
    throw new Error(`initdb could not make ${dir}: ${(error as { stderr?: string }).stderr ?? (error as Error).message}`, { cause: error });
  } finally {
    await rm(passwordFile, { force: true });
  }
  return true;
};

/** For a data set of some hundred MB on a laptop; durability is Postgres's default (fsync and synchronous commit on). */
const settingsFor = (port: number, fsync: boolean): Readonly<Record<string, string | number>> => ({
  port,
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: 200,
  shared_buffers: "256MB",
  // Files of the data folder: what a kill -9 leaves in /dev/shm would stay there for ever.
  dynamic_shared_memory_type: "mmap",
  // No replica and no archive: minimal WAL, and room for a sale between two checkpoints.
  wal_level: "minimal",
  max_wal_senders: 0,
  max_wal_size: "2GB",
  checkpoint_timeout: "15min",
  wal_compression: "on",
  jit: "off",
  fsync: fsync ? "on" : "off",
  logging_collector: "off",
  log_line_prefix: "%m [%p] ",
});

/** Makes the database of that name, unless it is there. */
const ensureDatabase = async (adminUrl: string): Promise<void> => {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query("select 1 from pg_database where datname = $1", [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
};

const postgresPart = async (run: Run, options: PostgresOptions, port: number): Promise<PostgresPart> => {
  const dir = options.dir ?? join(run.folder, `postgres-${port}`);
  const user = await serverUser();
  const password = randomBytes(18).toString("hex");
  const base = `postgres://${USER}:${password}@127.0.0.1:${port}`;
  let isNew = false;
  const part = new Part(run, {
    name: "postgres",
    command: options.programs.postgres,
    args: ["-D", dir, ...Object.entries(settingsFor(port, options.fsync ?? true)).flatMap(([key, value]) => ["-c", `${key}=${value}`])],
    user,
    prepare: async () => {
      isNew = (await prepareFolder(run, dir, options.programs.initdb, password, user)) || isNew;
    },
    isReady: () => postgresReady(port, USER),
    afterReady: async () => {
      if (!isNew) return;
      await ensureDatabase(`${base}/postgres`);
      await options.fill?.(`${base}/${DATABASE}`);
      isNew = false;
    },
    readyWithinMs: READY_WITHIN_MS,
    // INT: "fast", ends open sessions; TERM would wait for them.
    stopSignal: "SIGINT",
    stopWithinMs: STOP_WITHIN_MS,
  });
  return { part, url: `${base}/${DATABASE}`, port, dir };
};

/** Starts a Postgres as a user that is not root, and waits until its database `doorbuster` is there. */
export const startPostgres = (run: Run, options: PostgresOptions): Promise<PostgresPart> =>
  onPort(options.port, async (port) => {
    const postgres = await postgresPart(run, options, port);
    await postgres.part.start();
    return postgres;
  });
