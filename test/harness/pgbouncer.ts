import { execFile } from "node:child_process";
import { chown, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { onPort, Part, serverUser, type Run } from "../../deploy/local/index.ts";
import { isListening } from "./leftovers.ts";
import { joinRun, leaveRun } from "./run.ts";

const execute = promisify(execFile);
const PROGRAM = "/usr/sbin/pgbouncer";
const READY_WITHIN_MS = 10_000;
const STOP_WITHIN_MS = 5_000;

/** Debian's package; the tests that need it are skipped elsewhere, and say so. */
export const hasPgBouncer = (): Promise<boolean> =>
  execute(PROGRAM, ["--version"]).then(
    () => true,
    () => false,
  );

export interface PgBouncerOptions {
  /** of the database behind it */
  readonly databaseUrl: string;
  readonly mode: "session" | "transaction" | "statement";
  /** sessions of Postgres for all clients */
  readonly sessions: number;
}

/** A pool before a database, that knows nothing of Doorbuster. */
export interface PgBouncer {
  /** the database through it */
  readonly url: string;
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Nothing is allowed beyond its defaults: start-up parameters that it does not know are refused. */
const settingsText = ({ databaseUrl, mode, sessions }: PgBouncerOptions, port: number): string => {
  const { hostname, port: behind, username, password } = new URL(databaseUrl);
  return [
    "[databases]",
    `* = host=${hostname} port=${behind} user=${username} password=${password}`,
    "[pgbouncer]",
    "listen_addr = 127.0.0.1",
    `listen_port = ${port}`,
    "unix_socket_dir =",
    "auth_type = any",
    `pool_mode = ${mode}`,
    `default_pool_size = ${sessions}`,
    "max_client_conn = 100",
    "server_login_retry = 1",
    "",
  ].join("\n");
};

const pgBouncerPart = async (run: Run, options: PgBouncerOptions, port: number): Promise<Part> => {
  const dir = join(run.folder, `pgbouncer-${port}`);
  const settings = join(dir, "pgbouncer.ini");
  const user = await serverUser();
  return new Part(run, {
    name: `pgbouncer-${port}`,
    command: PROGRAM,
    args: [settings],
    user,
    prepare: async () => {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await writeFile(settings, settingsText(options, port), { mode: 0o600 });
      if (user === undefined) return;
      await chown(dir, user.uid, user.gid);
      await chown(settings, user.uid, user.gid);
    },
    isReady: () => isListening(`tcp://127.0.0.1:${port}`),
    readyWithinMs: READY_WITHIN_MS,
    stopSignal: "SIGINT",
    stopWithinMs: STOP_WITHIN_MS,
  });
};

export const startPgBouncer = async (options: PgBouncerOptions): Promise<PgBouncer> => {
  const run = await joinRun();
  const { part, port } = await onPort(undefined, async (chosen) => {
    const made = await pgBouncerPart(run, options, chosen);
    await made.start();
    return { part: made, port: chosen };
  });
  const url = new URL(options.databaseUrl);
  url.port = String(port);
  return {
    url: url.href,
    kill: () => part.kill(),
    start: () => part.start(),
    stop: async () => {
      await part.stop();
      await leaveRun();
    },
  };
};
