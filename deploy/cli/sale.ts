import type { Redis } from "ioredis";
import { pino } from "pino";
import { connectShards } from "#program";
import { saleRecordSchema, type OpenSale, type SaleRecord } from "#protocol";
import { Status, stock } from "#lua";
import { until } from "../local/index.ts";

/** What opening a sale takes of a running stack (StackInfo, ReadyFile). */
export interface SaleHost {
  readonly gateway: string;
  readonly admin: string;
  readonly adminToken: string;
  /** as REDIS_SHARDS takes them */
  readonly redisShards: string;
}

const ANSWER_WITHIN_MS = 5_000;
const OPEN_WITHIN_MS = 60_000;
const EVERY_MS = 50;

/** Opens the sale over the admin API; asks again where a store was away: opening the same sale twice is one opening. */
const post = async (host: SaleHost, sale: OpenSale, abort: AbortSignal | undefined): Promise<void> => {
  let asked = false;
  let last = "";
  const isOpened = async (): Promise<boolean> => {
    abort?.throwIfAborted();
    try {
      const response = await fetch(`${host.admin}/sales`, {
        method: "POST",
        headers: { authorization: `Bearer ${host.adminToken}`, "content-type": "application/json", connection: "close" },
        body: JSON.stringify(sale),
        signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      });
      last = `${response.status} ${await response.text()}`;
      // The answer to an earlier try may have been lost.
      if (response.ok || (response.status === 409 && asked)) return true;
      if (response.status < 500) throw new Error(`the sale ${sale.id} was refused: ${last}`);
    } catch (error) {
      const { name, message } = error as Error;
      if (name !== "TimeoutError" && name !== "TypeError") throw error;
      last = message;
    }
    asked = true;
    return false;
  };
  await until(isOpened, `the sale ${sale.id} to be opened`, OPEN_WITHIN_MS, EVERY_MS).catch((error: Error) => {
    throw last === "" || abort?.aborted === true ? error : new Error(`${error.message}; the last answer was: ${last}`, { cause: error });
  });
};

const isShown = async (host: SaleHost, saleId: string): Promise<boolean> => {
  const response = await fetch(`${host.gateway}/sales/${saleId}`, {
    headers: { connection: "close" },
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  });
  await response.arrayBuffer();
  return response.ok;
};

const listed = saleRecordSchema.pick({ id: true, shards: true }).loose().array();

/** The shards that hold a sale's units (the public record does not tell); undefined until a gateway shows the sale. */
const shownShards = async (host: SaleHost, saleId: string): Promise<SaleRecord["shards"] | undefined> => {
  try {
    if (!(await isShown(host, saleId))) return undefined;
    const response = await fetch(`${host.admin}/sales`, {
      headers: { authorization: `Bearer ${host.adminToken}`, connection: "close" },
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    const body: unknown = await response.json();
    return response.ok ? listed.parse(body).find((sale) => sale.id === saleId)?.shards : undefined;
  } catch {
    return undefined;
  }
};

/** Whether the sale's units have arrived on all its shards, and those may sell. */
const isStocked = async (redises: readonly Redis[], saleId: string, shards: readonly number[]): Promise<boolean> => {
  try {
    for (const shard of shards) {
      const redis = redises[shard];
      if (redis === undefined) return false;
      const state = await stock(redis, { shard, saleId });
      if (state.status !== Status.ok || state.moves === 0) return false;
    }
    return true;
  } catch {
    return false;
  }
};

/**
 * Opens a sale and resolves when a buyer who comes now is served: a gateway shows it, its shards are open, its units
 * have arrived.
 * @throws Error if it is refused, not ready within a minute, or given up by `abort`
 */
export const openSale = async (host: SaleHost, sale: OpenSale, abort?: AbortSignal): Promise<void> => {
  await post(host, sale, abort);
  const redises = connectShards(host.redisShards.split(","), {
    name: "sale",
    log: pino({ level: "silent" }),
    commandTimeoutMs: ANSWER_WITHIN_MS,
  });
  try {
    const isServed = async (): Promise<boolean> => {
      abort?.throwIfAborted();
      const shards = await shownShards(host, sale.id);
      return shards !== undefined && (await isStocked(redises, sale.id, shards));
    };
    await until(isServed, `the sale ${sale.id} to be served`, OPEN_WITHIN_MS, EVERY_MS);
  } finally {
    for (const redis of redises) redis.disconnect();
  }
};
