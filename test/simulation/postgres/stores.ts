import type { RestoredOrder, RestoreSnapshot, RestoreSource } from "../../../workers/restore/restore-ports.ts";
import { stateInRedis } from "#protocol/sale";
import type { SweepStore } from "../../../workers/sales/sweep-ports.ts";
import { op, type Wire } from "../kernel/wire.ts";
import type { Postgres } from "./postgres.ts";
import type { OrderRow } from "./tables.ts";

const SNAPSHOT = op("pg snapshot");
const PAGE = op("pg page");
const ROW = op("pg row");
const SWEEP = op("pg sweep");
const DELIVERED = op("pg delivered");

/** Small pages: a rebuild of a few orders takes several steps, between which everything can happen. */
const PAGE_ROWS = 3;

const byBuyer = (a: OrderRow, b: OrderRow): number => (a.uid < b.uid ? -1 : a.uid > b.uid ? 1 : a.key < b.key ? -1 : 1);

const restored = ({ uid, key, epoch, seq, index, units }: OrderRow): RestoredOrder => ({ uid, key, epoch, seq, index, units });

/** The first refused purchase of each buyer and key that no binding order replaces. */
const refused = (orders: readonly OrderRow[]): OrderRow[] => {
  const first = new Map<string, OrderRow>();
  for (const order of orders) {
    const name = `${order.uid} ${order.key}`;
    if (order.state === "rejected" && !first.has(name)) first.set(name, order);
  }
  for (const order of orders) if (order.state !== "rejected") first.delete(`${order.uid} ${order.key}`);
  return [...first.values()].sort(byBuyer);
};

const takeSnapshot = (postgres: Postgres, shard: number, wire: Wire): RestoreSnapshot => {
  const ofSale = new Map<string, OrderRow[]>();
  for (const order of postgres.orders) {
    if (order.shard !== shard) continue;
    const list = ofSale.get(order.saleId) ?? [];
    ofSale.set(order.saleId, list);
    list.push({ ...order });
  }
  const grants = [...postgres.grants.values()].filter((grant) => grant.shard === shard && grant.state === "done");
  async function* pages<T>(items: readonly T[]): AsyncGenerator<readonly T[]> {
    for (let at = 0; at < items.length; at += PAGE_ROWS) yield await wire.call(PAGE, () => items.slice(at, at + PAGE_ROWS));
  }
  const orders = (saleId: string): readonly OrderRow[] => ofSale.get(saleId) ?? [];
  return {
    row: { ...postgres.shardRow(shard) },
    sales: postgres.saleShards
      .filter((row) => row.shard === shard && !(postgres.rules.restoreArchived && postgres.sales.get(row.saleId)?.archived === true))
      .map(({ saleId, quota, sold }) => {
        const sale = postgres.sales.get(saleId);
        if (sale === undefined) throw new Error(`no sale ${saleId}`);
        const { version, state, limitPerBuyer, opensAtMs, closesAtMs } = sale.record;
        const { everSoldOut } = sale;
        return { saleId, version, state, limit: limitPerBuyer, opensAtMs, closesAtMs, left: quota - sold, sold, everSoldOut };
      }),
    orders: (saleId) =>
      pages(
        orders(saleId)
          .filter((order) => order.state !== "rejected")
          .sort(byBuyer)
          .map((order) => restored(order)),
      ),
    rejected: (saleId) => pages(refused(orders(saleId)).map((order) => restored(order))),
    grants: (saleId) => pages(grants.filter((grant) => grant.saleId === saleId).map((grant) => grant.id)),
  };
};

export const restoreSourceOf = (postgres: Postgres, wire: Wire): RestoreSource => ({
  snapshot: async (shard, read) => read(await wire.call(SNAPSHOT, () => takeSnapshot(postgres, shard, wire))),
  row: (shard) => wire.call(ROW, () => ({ ...postgres.shardRow(shard) })),
});

export const sweepStoreOf = (postgres: Postgres, wire: Wire): SweepStore => ({
  undelivered: () =>
    wire.call(SWEEP, () =>
      postgres.saleShards.flatMap(({ saleId, shard, delivered }) => {
        const { epoch } = postgres.shardRow(shard);
        const sale = postgres.sales.get(saleId);
        const record = sale?.record;
        if (
          record === undefined ||
          sale?.archived === true ||
          epoch === 0 ||
          (delivered.version >= record.version && delivered.epoch === epoch)
        )
          return [];
        const { version, limitPerBuyer, opensAtMs, closesAtMs } = record;
        const state = stateInRedis(record.state);
        return [{ shard, epoch, saleId, version, state, limit: limitPerBuyer, opensAtMs, closesAtMs }];
      }),
    ),
  sentGrants: () =>
    wire.call(SWEEP, () =>
      [...postgres.grants.values()].flatMap(({ saleId, id, shard, units, state, flagged }) => {
        const { epoch } = postgres.shardRow(shard);
        return state !== "sent" || epoch === 0 ? [] : [{ shard, epoch, saleId, grantId: id, units, flagged, revocable: false }];
      }),
    ),
  // no order gives units back here
  offer: (grants) => Promise.resolve(grants),
  positions: () =>
    wire.call(SWEEP, () =>
      postgres.shards.filter(({ epoch }) => epoch > 0).map(({ shard, epoch, applied, wall }) => ({ shard, epoch, applied, wall })),
    ),
  delivered: ({ saleId, shard, version, epoch }) =>
    wire.call(DELIVERED, () => {
      const row = postgres.saleShard(saleId, shard);
      if (row === undefined || row.delivered.epoch > epoch) return;
      row.delivered.version = Math.max(row.delivered.version, version);
      row.delivered.epoch = epoch;
    }),
  notDelivered: (shard, saleId) =>
    wire.call(DELIVERED, () => {
      const row = postgres.saleShard(saleId, shard);
      if (row !== undefined) row.delivered.version = 0;
    }),
  undropped: () =>
    wire.call(SWEEP, () =>
      postgres.saleShards.flatMap(({ saleId, shard, droppedEpoch }) => {
        const { epoch } = postgres.shardRow(shard);
        return droppedEpoch === 0 && epoch > 0 ? [{ saleId, shard, epoch }] : [];
      }),
    ),
  dropped: ({ saleId, shard, epoch }) =>
    wire.call(DELIVERED, () => {
      const row = postgres.saleShard(saleId, shard);
      if (row?.droppedEpoch === 0) row.droppedEpoch = epoch;
    }),
});
