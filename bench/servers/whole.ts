import { Redis } from "ioredis";
import { Client } from "pg";
import { openSale } from "../../deploy/cli/sale.ts";
import { startStack, type PartEvent, type Stack, type StackInfo } from "../../deploy/local/index.ts";
import { processTree, until } from "../../deploy/local/index.ts";
import type { Bench } from "../scenario.ts";
import type { Watched } from "../usage.ts";

/** Everything that sells, as `npm start` runs it, with the default configuration. */
export interface Whole {
  readonly stack: Stack;
  readonly info: StackInfo;
  readonly host: string;
  readonly port: number;
  readonly ticketKeys: string;
  readonly folder: string;
  /** a connection to each shard's Redis */
  readonly redis: readonly Redis[];
  watched(): Promise<Watched>;
  /** @param shardCount shards that its units are dealt to */
  openSale(id: string, units: number, shardCount?: number): Promise<void>;
  /** units in the live orders of a sale that Postgres has committed */
  sold(saleId: string): Promise<number>;
  /** moves of a sale's units between shards */
  transfers(saleId: string): Promise<number>;
  /** Resolves when Postgres has committed that many. @throws Error when nothing moves for a long time */
  untilSold(saleId: string, units: number): Promise<void>;
  stop(): Promise<void>;
}

const DAY_MS = 86_400_000;
const STALLED_MS = 30_000;
const LOOK_MS = 20;

export interface WholeOptions {
  readonly shards: number;
  /** servers that the shards are dealt to; the launcher's number if left out */
  readonly redis?: number;
  readonly onEvent?: (event: PartEvent) => void;
  readonly restartAfterMs?: number;
}

const connected = async (stack: Stack): Promise<Omit<Whole, "stop">> => {
  const info = await stack.info();
  const database = new Client({ connectionString: info.databaseUrl });
  database.on("error", () => undefined);
  await database.connect();
  const redis = info.redis.map(({ url }) => new Redis(url).on("error", () => undefined));
  const sold = async (saleId: string): Promise<number> => {
    const { rows } = await database.query<{ sold: string }>("SELECT coalesce(sum(sold), 0) AS sold FROM sale_shards WHERE sale_id = $1", [
      saleId,
    ]);
    return Number(rows[0]?.sold);
  };
  const { hostname, port } = new URL(info.gateway);
  const pids = (stores: readonly { readonly pid: number | null }[]): number[] => stores.flatMap(({ pid }) => pid ?? []);
  return {
    stack,
    info,
    host: hostname,
    port: Number(port),
    ticketKeys: info.ticketKeys,
    folder: stack.folder,
    redis,
    watched: async () => {
      const now = await stack.info();
      const servers = { redis: pids(now.redis), nats: pids([now.nats]) };
      return { ...now.programs, ...servers, postgres: now.postgres.pid === null ? [] : await processTree(now.postgres.pid) };
    },
    openSale: async (id, units, shardCount) => {
      const nowMs = Date.now();
      const about = {
        campaign: "bench",
        title: "Bench",
        priceMinor: 9_900,
        currency: "CNY",
        limitPerBuyer: 1,
        payWithinMs: 0,
        ...(shardCount === undefined ? {} : { shardCount }),
      };
      await openSale(info, { id, units, opensAtMs: nowMs - 60_000, closesAtMs: nowMs + DAY_MS, ...about });
    },
    sold,
    transfers: async (saleId) => {
      const { rows } = await database.query<{ count: string }>("SELECT count(*) FROM grants WHERE sale_id = $1 AND kind = 'transfer'", [
        saleId,
      ]);
      return Number(rows[0]?.count);
    },
    untilSold: async (saleId, units) => {
      let seen = -1;
      let movedAtMs = performance.now();
      await until(
        async () => {
          const now = await sold(saleId);
          if (now !== seen) movedAtMs = performance.now();
          seen = now;
          if (performance.now() - movedAtMs > STALLED_MS) throw new Error(`${now} of ${units} orders are stored and no more come`);
          return now >= units;
        },
        `${units} orders to be stored`,
        10 * STALLED_MS,
        LOOK_MS,
      );
    },
  };
};

/** Starts the whole stack. Nothing stays behind if that fails. */
export const startWhole = async (bench: Bench, options: WholeOptions): Promise<Whole> => {
  bench.goOn();
  const stack = await startStack({
    environment: bench.environment,
    say: (line) => bench.step(line),
    ...options,
  });
  try {
    const whole = await connected(stack);
    return {
      ...whole,
      stop: async () => {
        for (const redis of whole.redis) redis.disconnect();
        await stack.stop();
      },
    };
  } catch (error) {
    await stack.stop();
    throw error;
  }
};
