import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Client } from "pg";
import {
  findOrInstall,
  freePort,
  httpReady,
  Part,
  startPostgres,
  startRedis,
  Store,
  until,
  type Binaries,
  type Run,
} from "../../deploy/local/index.ts";
import type { Watched } from "../usage.ts";

/** A peer that runs: the same job by what people would use instead, on servers of its own with the same settings. */
export interface Peer {
  readonly port: number;
  /** what a success means on disk when it is answered */
  readonly durability: string;
  /** whether each buyer has a path of his own; dtm's handler knows no buyers */
  readonly knowsBuyers: boolean;
  watched(): Promise<Watched>;
  restock(units: number): Promise<void>;
  /** Resolves when the work that `wins` answers left behind is done, or takes too long to wait for. */
  settle(wins: number): Promise<void>;
}

/** Starts a peer in a run that ends it. @returns why not, where something is missing */
export type StartPeer = (run: Run) => Promise<Peer | string>;

const WITHIN_MS = 60_000;
const BUILD_MS = 600_000;
/** A backlog is not waited for longer: it is the peer's own, and the next run says so by its rate. */
const SETTLE_MS = 15_000;
const ALWAYS = "Redis appendfsync always";

const root = (file: string): string => fileURLToPath(new URL(`../../../bench/peers/${file}`, import.meta.url));
const compiled = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

const program = (run: Run, name: string, args: readonly string[], isReady: () => Promise<boolean>): Part =>
  new Part(run, {
    name,
    command: process.execPath,
    args,
    isReady,
    readyWithinMs: WITHIN_MS,
    stopSignal: "SIGKILL",
    stopWithinMs: WITHIN_MS,
  });

const restockOver =
  (port: number) =>
  async (units: number): Promise<void> => {
    const answer = await fetch(`http://127.0.0.1:${port}/stock?units=${units}`, { method: "POST", headers: { connection: "close" } });
    if (!answer.ok) throw new Error(`the peer's stock could not be set: ${answer.status} ${await answer.text()}`);
  };

const binaries = (run: Run): Promise<Binaries> =>
  findOrInstall([Store.redis, Store.postgres], { path: run.environment["PATH"] }, () => undefined);

const countOrders = async (database: Client): Promise<number> =>
  Number((await database.query<{ count: string }>("SELECT count(*) FROM orders")).rows[0]?.count);

/** The usual Node stack. */
export const startNodePeer: StartPeer = async (run) => {
  const programs = await binaries(run);
  const redis = await startRedis(run, { name: "node-peer-redis", program: programs.redis });
  const postgres = await startPostgres(run, { programs });
  const port = await freePort();
  const shop = program(run, "node-peer-shop", [compiled("node/shop.js"), String(port), redis.url], () =>
    httpReady(`http://127.0.0.1:${port}/healthz`),
  );
  const worker = program(run, "node-peer-worker", [compiled("node/worker.js"), redis.url, postgres.url], () => Promise.resolve(true));
  await shop.start();
  await worker.start();
  const database = new Client({ connectionString: postgres.url }).on("error", () => undefined);
  await database.connect();
  let settled = 0;
  return {
    port,
    durability: `${ALWAYS} (stock and job); the order is in Postgres later`,
    knowsBuyers: true,
    watched: async () => ({
      shop: await shop.pids(),
      worker: await worker.pids(),
      redis: await redis.part.pids(),
      postgres: await postgres.part.pids(),
    }),
    restock: restockOver(port),
    settle: async (wins) => {
      settled += wins;
      await until(async () => (await countOrders(database)) >= settled, "the orders", SETTLE_MS, 100).catch(() => undefined);
      settled = await countOrders(database);
    },
  };
};

/** Postgres alone. */
export const startPostgresPeer: StartPeer = async (run) => {
  const postgres = await startPostgres(run, { programs: await binaries(run) });
  const port = await freePort();
  const shop = program(run, "postgres-peer-shop", [compiled("postgres/shop.js"), String(port), postgres.url], () =>
    httpReady(`http://127.0.0.1:${port}/healthz`),
  );
  await shop.start();
  return {
    port,
    durability: "Postgres committed, synchronous_commit on",
    knowsBuyers: true,
    watched: async () => ({ shop: await shop.pids(), postgres: await postgres.part.pids() }),
    restock: restockOver(port),
    settle: () => Promise.resolve(),
  };
};

/** dtm's server speaks its API beside the handler. */
export interface DtmPeer extends Peer {
  /** base of its message API */
  readonly api: string;
}

/**
 * dtm's own server and its flash-sale benchmark handler in one Go program.
 * @param client `shipped`: dtm's client as it is; `tuned`: it keeps its connections, which its users can set
 */
export const startDtmPeer = async (run: Run, client: "shipped" | "tuned"): Promise<DtmPeer | string> => {
  const built = join(run.folder, `dtm-peer-${client}`);
  try {
    // Without the stamp of the commit: it needs git, and a clone that belongs to who builds.
    await promisify(execFile)("go", ["build", "-buildvcs=false", "-o", built, "."], {
      cwd: root("dtm"),
      timeout: BUILD_MS,
      signal: run.ending,
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "go is not installed";
    // The first lines only say what is downloaded.
    const printed = ((error as { stderr?: string }).stderr ?? "").trim().split("\n");
    return `go could not build it: ${printed.at(-1) || String(error)}`;
  }
  const { redis: redisServer } = await findOrInstall([Store.redis], { path: run.environment["PATH"] }, () => undefined);
  const redis = await startRedis(run, { name: `dtm-peer-${client}-redis`, program: redisServer });
  const [http, grpc, jsonRpc, port] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const restock = restockOver(port);
  const part = new Part(run, {
    name: `dtm-peer-${client}`,
    command: built,
    args: [],
    environment: {
      STORE_DRIVER: "redis",
      STORE_HOST: "127.0.0.1",
      STORE_PORT: String(redis.port),
      HTTP_PORT: String(http),
      GRPC_PORT: String(grpc),
      JSON_RPC_PORT: String(jsonRpc),
      LOG_LEVEL: "fatal",
      PEER_PORT: String(port),
      PEER_CLIENT: client,
      PEER_REDIS: `127.0.0.1:${redis.port}`,
    },
    isReady: () =>
      restock(0).then(
        () => true,
        () => false,
      ),
    readyWithinMs: WITHIN_MS,
    stopSignal: "SIGKILL",
    stopWithinMs: WITHIN_MS,
  });
  await part.start();
  return {
    api: `http://127.0.0.1:${http}`,
    port,
    durability: ALWAYS,
    knowsBuyers: false,
    watched: async () => ({ dtm: await part.pids(), redis: await redis.part.pids() }),
    restock,
    settle: () => Promise.resolve(),
  };
};
