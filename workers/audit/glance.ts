import { formatOrderId } from "#protocol/order-id";
import type { AuditStores } from "./audit.ts";
import { LIVE_STATES, parseOrderLine } from "./order-line.ts";
import { readShard } from "./redis-facts.ts";

/** What a watcher of a running sale wants to see; not one instant, so the numbers need not add up. */
export interface Glance {
  /** units left in Redis */
  readonly left: number;
  /** units that Postgres counts as sold */
  readonly sold: number;
}

/** Sums over the given sales. Cheap: no buyer and no order is read. @throws if a store does not answer */
export const glance = async (stores: AuditStores, saleIds: readonly string[]): Promise<Glance> => {
  const wanted = new Set(saleIds);
  const { saleShards } = await stores.database.snapshot((snapshot) => snapshot.facts());
  const shards = await Promise.all(stores.redis.map((redis, shard) => readShard(redis, shard, saleIds)));
  let left = 0;
  let sold = 0;
  for (const shard of shards) for (const saleId of wanted) left += shard.sales.get(saleId)?.leftUnits ?? 0;
  for (const row of saleShards) if (wanted.has(row.saleId)) sold += row.sold;
  return { left, sold };
};

/** A live order. */
export interface LiveOrder {
  readonly saleId: string;
  readonly uid: string;
  readonly orderId: string;
}

/** Every live order of the given sales in one snapshot, in no order. */
export const eachLiveOrder = (stores: AuditStores, saleIds: readonly string[], take: (order: LiveOrder) => void): Promise<void> => {
  const wanted = new Set(saleIds);
  return stores.database.snapshot(async (snapshot) => {
    for await (const lines of snapshot.orders())
      for (const line of lines) {
        const order = parseOrderLine(line);
        if (wanted.has(order.saleId) && LIVE_STATES.has(order.state))
          take({ saleId: order.saleId, uid: order.uid, orderId: formatOrderId(order) });
      }
  });
};
