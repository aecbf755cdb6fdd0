import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Part } from "./part.ts";
import { signal } from "./processes.ts";
import { makePrograms, migrate, ProgramName, type Programs, type Route } from "./programs.ts";
import { beginRun, type Run, type RunOptions } from "./run.ts";
import { startStores, type StoreAddress, type Stores } from "./stores.ts";
import { Supervisor, type PartEvent } from "./supervisor.ts";
import { settled, until } from "./wait.ts";

export interface StackOptions extends RunOptions {
  /** REDIS_SHARDS in the environment goes before */
  readonly shards?: number;
  /** Redis servers to start; the shards are dealt to them in turn. At most one a shard, three if left out */
  readonly redis?: number;
  /** folder of the compiled programs */
  readonly dist?: string;
  /** gives up the start */
  readonly abort?: AbortSignal;
  readonly onEvent?: (event: PartEvent) => void;
  /** before a part that died is started again; 2,000 ms if left out */
  readonly restartAfterMs?: number;
  /** the address at which a program reaches a store, where it is not the store's own: something stands between */
  readonly route?: Route;
}

/** A server that runs already has neither process id nor folder here. */
interface StoreInfo {
  readonly url: string;
  readonly pid: number | null;
  readonly dir: string | null;
}

/** Where everything is; process ids are those of the moment. The shape of the ready file. */
export interface StackInfo {
  readonly run: string;
  readonly gateway: string;
  readonly admin: string;
  readonly adminToken: string;
  readonly coordinator: string;
  /** where each program tells its metrics and health */
  readonly metrics: Readonly<Record<ProgramName, string>>;
  /** by shard; shards may share a server */
  readonly redis: readonly StoreInfo[];
  readonly nats: StoreInfo & { readonly user: string | null; readonly pass: string | null };
  readonly postgres: StoreInfo;
  /** of each program: the process that was started first, then those below it */
  readonly programs: Readonly<Record<ProgramName, readonly number[]>>;
  /** as DOORBUSTER_TICKET_KEYS takes them */
  readonly ticketKeys: string;
  /** as REDIS_SHARDS takes them */
  readonly redisShards: string;
  readonly databaseUrl: string;
}

/** Everything that sells: servers and programs, kept running until `stop`. */
export interface Stack {
  readonly run: string;
  /** private data folder, gone after `stop` */
  readonly folder: string;
  /** names for `kill` and `pid`: redis-0 ..., nats, postgres (as far as started here), gateway, coordinator, workers */
  readonly parts: readonly string[];
  /** how often anything was started again after it died */
  readonly restarts: number;
  /** when the shard's Redis was last started again without the data that it had, on performance.now()'s clock */
  emptiedAtMs(shard: number): number | undefined;
  info(): Promise<StackInfo>;
  pid(part: string): number | undefined;
  /** Sends a signal to a part's first process; one that dies is started again after a moment. */
  kill(part: string, name?: NodeJS.Signals): void;
  /** a part's first process and those below it; empty while it does not run */
  pids(part: string): Promise<readonly number[]>;
  /** Resolves when every part runs and is ready. */
  ready(boundMs?: number): Promise<void>;
  /** Ends everything in order: gateway, coordinator, workers, servers; nothing stays. Further calls wait for the first. */
  stop(): Promise<void>;
}

const DEFAULT_SHARDS = 2;
/** More servers than that only compete for the processors of one machine. */
const DEFAULT_REDIS = 3;
const READY_AGAIN_WITHIN_MS = 60_000;

/** `dist/` beside the sources, or the folder that this file was compiled into. */
const ownDist = (): string => {
  const here = dirname(fileURLToPath(import.meta.url));
  return import.meta.url.endsWith(".ts") ? join(here, "..", "..", "dist") : join(here, "..", "..");
};

const checkBuilt = (dist: string): void => {
  const missing = [...Object.values(ProgramName).map((name) => join(dist, name, "main.js")), join(dist, "workers", "migrate.js")].filter(
    (file) => !existsSync(file),
  );
  if (missing.length > 0)
    throw new Error(`not built: ${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} missing; run npm run build`);
};

const storeInfo = (store: StoreAddress): StoreInfo => ({ url: store.url, pid: store.part?.pid ?? null, dir: store.dir ?? null });

const infoOf = async (run: Run, stores: Stores, programs: Programs): Promise<StackInfo> => ({
  run: run.id,
  gateway: programs.gatewayUrl,
  admin: programs.adminUrl,
  adminToken: programs.adminToken,
  coordinator: programs.coordinatorUrl,
  metrics: programs.metricsUrls,
  redis: stores.redis.map(storeInfo),
  nats: { ...storeInfo(stores.nats), user: stores.nats.user ?? null, pass: stores.nats.pass ?? null },
  postgres: storeInfo(stores.postgres),
  programs: {
    gateway: await programs.parts.gateway.pids(),
    coordinator: await programs.parts.coordinator.pids(),
    workers: await programs.parts.workers.pids(),
  },
  ticketKeys: programs.ticketKeys,
  redisShards: stores.redis.map(({ url }) => url).join(","),
  databaseUrl: stores.postgres.url,
});

const serversOf = (stores: Stores): readonly Part[] =>
  [...new Set(stores.redis), stores.nats, stores.postgres].flatMap(({ part }) => (part === undefined ? [] : [part]));

/** Ends the parts in the order of the data flow, so that what is under way is finished by the next one. */
const stopInOrder = async (programs: Programs, stores: Stores): Promise<void> => {
  for (const name of Object.values(ProgramName)) await programs.parts[name].stop();
  await settled(serversOf(stores).map((server) => server.stop()));
};

const startParts = async (run: Run, options: StackOptions): Promise<{ readonly stores: Stores; readonly programs: Programs }> => {
  const dist = options.dist ?? ownDist();
  checkBuilt(dist);
  const stores = await startStores(
    run,
    { shards: options.shards ?? DEFAULT_SHARDS, redis: options.redis ?? DEFAULT_REDIS },
    (databaseUrl) => migrate(run, dist, databaseUrl),
  );
  run.say(
    `servers run: ${new Set(stores.redis.map(({ url }) => url)).size} Redis for ${stores.redis.length} shards, NATS, Postgres; data and logs in ${run.folder}`,
  );
  const programs = await makePrograms(run, dist, stores, options.route);
  await settled(Object.values(programs.parts).map((part) => part.start()));
  return { stores, programs };
};

const stackOf = (run: Run, stores: Stores, programs: Programs, supervisor: Supervisor): Stack => {
  const parts = new Map([...serversOf(stores), ...Object.values(programs.parts)].map((part) => [part.name, part]));
  for (const part of parts.values()) supervisor.watch(part);
  const partNamed = (name: string): Part => {
    const part = parts.get(name);
    if (part === undefined) throw new Error(`no part ${name}; there are ${[...parts.keys()].join(", ")}`);
    return part;
  };
  const stop = async (): Promise<void> => {
    supervisor.end();
    await stopInOrder(programs, stores);
    await run.abort();
    await supervisor.ended();
    await run.end();
  };
  let stopping: Promise<void> | undefined;
  return {
    run: run.id,
    folder: run.folder,
    parts: [...parts.keys()],
    get restarts() {
      return supervisor.restarts;
    },
    emptiedAtMs: (shard) => stores.redis[shard]?.emptiedAtMs,
    info: () => infoOf(run, stores, programs),
    pid: (name) => partNamed(name).pid,
    kill: (name, killer = "SIGKILL") => {
      const { pid } = partNamed(name);
      if (pid !== undefined) signal(pid, killer);
    },
    pids: (name) => partNamed(name).pids(),
    ready: (boundMs = READY_AGAIN_WITHIN_MS) =>
      until(
        async () => {
          for (const part of parts.values()) if (part.pid === undefined || !(await part.isReady())) return false;
          return true;
        },
        "every part to be ready",
        boundMs,
      ),
    stop: () => (stopping ??= stop()),
  };
};

/**
 * Starts servers and programs and resolves when all are ready. Nothing stays behind if that fails.
 * @throws MissingServers, or an Error with the end of the log of what did not start
 */
export const startStack = async (options: StackOptions): Promise<Stack> => {
  const run = await beginRun(options);
  const giveUp = (): void => void run.abort();
  options.abort?.addEventListener("abort", giveUp, { once: true });
  try {
    options.abort?.throwIfAborted();
    const { stores, programs } = await startParts(run, options);
    return stackOf(run, stores, programs, new Supervisor(run, options.onEvent ?? (() => undefined), options.restartAfterMs));
  } catch (error) {
    await run.end();
    throw error;
  } finally {
    options.abort?.removeEventListener("abort", giveUp);
  }
};
