import type { SaleData, ShardData } from "../redis/data.ts";
import type { World } from "../world.ts";

/** States in which an order has its units. */
const LIVE: ReadonlySet<string> = new Set(["pending_payment", "paid"]);

/**
 * What must hold when all is at rest (P1 to P6): Redis and Postgres say the same, every unit is somewhere, everybody who
 * was told something has it. Shares no code with the engine.
 */
export const auditAtRest = (world: World): void => {
  for (const [shard, { current }] of world.nodes.entries()) auditShard(world, shard, current.data);
  for (const [saleId, { totalUnits, soldOutVersion, archived }] of world.postgres.sales) {
    let free = 0;
    // of an archived sale only Postgres knows
    if (archived) for (const row of world.postgres.saleShards) free += row.saleId === saleId ? row.quota - row.sold : 0;
    else for (const { current } of world.nodes) free += current.data.sales.get(saleId)?.left ?? 0;
    let sold = 0;
    for (const { saleId: of, state, units } of world.postgres.orders) if (of === saleId && LIVE.has(state)) sold += units;
    if (free + sold < totalUnits) world.ledger.violate("P4_LOST", `${saleId}: ${free} free and ${sold} sold of ${totalUnits}`);
    if (free + sold > totalUnits) world.ledger.violate("P4_PHANTOM", `${saleId}: ${free} free and ${sold} sold of ${totalUnits}`);
    if (soldOutVersion !== null && free > 0) world.ledger.violate("P5_FLAG_STUCK", `${saleId}: ${free} free`);
    // where nothing was added and nothing was lost, what is free at rest was free all the time
    const isSame = world.options.added === 0 && (world.options.refunds ?? 0) === 0;
    if (free > 0 && isSame && world.lossy.size === 0 && world.ledger.heardSoldOut.has(saleId))
      world.ledger.violate("P5_TOLD_SOLD_OUT", `${saleId}: ${free} free`);
  }
  auditMemories(world);
};

const auditShard = (world: World, shard: number, data: ShardData): void => {
  const { postgres, ledger } = world;
  for (const { saleId, shard: on, quota, sold } of postgres.saleShards) {
    if (on !== shard) continue;
    const sale = data.sales.get(saleId);
    if (postgres.sales.get(saleId)?.archived === true) {
      if (sale !== undefined) ledger.violate("EQ_ARCHIVED", `${saleId} is on shard ${shard}`);
      continue;
    }
    if (sale === undefined) {
      ledger.violate("EQ_SALE", `${saleId} is not on shard ${shard}`);
      continue;
    }
    if (sale.left !== quota - sold) ledger.violate("EQ_LEFT", `${saleId} on ${shard}: ${sale.left}, ${quota} - ${sold}`);
    auditBuyers(world, saleId, shard, sale);
    for (const grant of postgres.grants.values()) {
      if (grant.saleId !== saleId || grant.shard !== shard) continue;
      if (grant.state === "done" && !sale.grants.has(grant.id)) ledger.violate("EQ_GRANT", `${grant.id} on ${shard}`);
    }
  }
};

const auditBuyers = (world: World, saleId: string, shard: number, sale: SaleData): void => {
  const { postgres, ledger } = world;
  const expected = new Map<string, string>();
  for (const order of postgres.orders) {
    if (order.saleId !== saleId || order.shard !== shard || order.state === "rejected") continue;
    const field = sale.limit === 1 ? order.uid : `${order.uid}:${order.key}`;
    expected.set(field, `${order.epoch}-${order.seq}-${order.index}-${order.units}`);
  }
  for (const [field, held] of sale.buyers) {
    if (held.rejected) continue;
    const there = `${held.epoch}-${held.seq}-${held.index}-${held.units}`;
    const order = expected.get(field);
    if (order === undefined) ledger.violate("EQ_GHOST", `${field} on ${shard}: ${there}`);
    else if (order !== there) ledger.violate("EQ_BUYER", `${field} on ${shard}: ${there}, Postgres ${order}`);
    expected.delete(field);
  }
  for (const [field, order] of expected) ledger.violate("EQ_MISSING", `${field} on ${shard}: ${order}`);
};

const auditMemories = ({ ledger, lossy }: World): void => {
  const isThere = (orderId: string, uid: string): boolean => {
    const order = ledger.order(orderId);
    return order !== undefined && order.state !== "rejected" && order.uid === uid;
  };
  for (const memory of ledger.memories.values()) {
    for (const orderId of memory.confirmed)
      if (!isThere(orderId, memory.uid)) ledger.violate("P1_CONFIRMED_LOST", `${memory.uid} ${orderId}`);
    for (const orderId of memory.reserved)
      if (!isThere(orderId, memory.uid) && !lossy.has(Number.parseInt(orderId, 36)))
        ledger.violate("P1_RESERVED_LOST", `${memory.uid} ${orderId}`);
    for (const orderId of memory.denied) if (isThere(orderId, memory.uid)) ledger.violate("P6_NONE_THEN_ORDER", `${memory.uid} ${orderId}`);
  }
};
