import { Redis } from "ioredis";
import { acquireLease, closeShard, defineSale, grant, openShard, swapShard, type DefineSale } from "#lua";

/** A connection that fails at once while the server is away and never sends a command twice, as the programs have them. */
export const redisClient = async (url: string): Promise<Redis> => {
  const redis = new Redis(url, {
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  redis.on("error", () => {});
  await redis.connect();
  return redis;
};

export interface OpenedShard {
  readonly shard: number;
  readonly epoch: number;
  readonly token: string;
  readonly attempt: string;
  readonly replicationId: string;
}

/** Long enough that nothing expires in a test that does not want it to. */
export const LONG_MS = 600_000;

/** Begins `epoch` on a shard without sales, as a coordinator would (DESIGN 7.1), and opens it. */
export const openEmptyShard = async (redis: Redis, shard: number, epoch = 1, openMs = LONG_MS): Promise<OpenedShard> => {
  const token = "token";
  const attempt = `attempt-${epoch}`;
  await acquireLease(redis, { shard, token, leaseMs: LONG_MS });
  const closed = await closeShard(redis, { shard, token, attempt });
  if (closed.status !== "ok") throw new Error(`close: ${closed.status}`);
  const { replicationId } = closed;
  const swapped = await swapShard(redis, { shard, attempt, replicationId, toEpoch: epoch, sales: [], dropped: [] });
  if (swapped.status !== "ok") throw new Error(`swap: ${swapped.status}`);
  const opened = await openShard(redis, { shard, token, attempt, replicationId, epoch, untilMs: Date.now() + openMs });
  if (opened.status !== "ok") throw new Error(`open: ${opened.status}`);
  return { shard, epoch, token, attempt, replicationId };
};

/** Puts a sale with `units` on an open shard: its definition, then one grant named `opening`. No units: it stays unstocked. */
export const stockSale = async (
  redis: Redis,
  { shard, epoch }: Pick<OpenedShard, "shard" | "epoch">,
  sale: Partial<DefineSale> & { readonly saleId: string; readonly units: number },
): Promise<void> => {
  const { units, ...definition } = sale;
  const window = { opensAtMs: 0, closesAtMs: Number.MAX_SAFE_INTEGER };
  const defined = await defineSale(redis, { shard, epoch, version: 1, state: "open", limit: 1, ...window, ...definition });
  if (defined.status !== "ok") throw new Error(`sale: ${defined.status}`);
  if (units === 0) return;
  const granted = await grant(redis, { shard, epoch, saleId: sale.saleId, grantId: "opening", units });
  if (granted.status !== "ok") throw new Error(`grant: ${granted.status}`);
};
