import type { Redis } from "ioredis";
import type { Client } from "pg";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { defineSale, grant, reserve, saleKeys, shardKeys } from "#lua";
import { givenSale } from "../../test/harness/index.ts";
import { startAuditWorld, type AuditWorld } from "../../test/harness/audit-world.ts";
import { audit, type AuditStores } from "./audit.ts";
import type { AuditReport } from "./report.ts";

/** Orders that are closed, and their units on the way back: at each instant in exactly one place. Written without the engine's code. */
const SALE = "phone";
const UNITS = 10;
const EPOCH = 3;
const FAR_MS = 4_000_000_000_000;
/** anna's order is the first of entry 2 */
const ANNA = `r0-${EPOCH}-2-0`;

let world: AuditWorld;
let redis: Redis;
let sql: Client;
let stores: AuditStores;

beforeAll(async () => {
  world = await startAuditWorld(1);
  ({ redis, sql, stores } = world);
});
afterAll(() => world?.close());

/** anna, bert and cora have bought; all of it is applied. */
beforeEach(async () => {
  await redis.flushall();
  await sql.query("TRUNCATE payments, orders, grants, sale_shards, sales, shards CASCADE");
  await sql.query("INSERT INTO shards (shard, epoch, applied) VALUES (0, $1, 2)", [EPOCH]);
  await givenSale(sql, { id: SALE, totalUnits: UNITS, closesAtMs: FAR_MS, shards: [{ shard: 0, quotaUnits: UNITS, soldUnits: 3 }] });
  await sql.query("INSERT INTO grants (id, sale_id, shard, units, kind, state) VALUES ('opening', $1, 0, $2, 'opening', 'done')", [
    SALE,
    UNITS,
  ]);
  const keys = shardKeys(0);
  const replid = /master_replid:(\w+)/.exec(await redis.info("replication"))?.[1];
  await redis.mset(keys.epoch, EPOCH, keys.open, `${EPOCH} ${replid}`, keys.applied, `${EPOCH}-0`);
  await redis.xadd(keys.outbox, "MAXLEN", "=", 0, `${EPOCH}-0`, "k", "x");
  await defineSale(redis, { shard: 0, epoch: EPOCH, saleId: SALE, version: 1, state: "open", limit: 1, opensAtMs: 0, closesAtMs: FAR_MS });
  await grant(redis, { shard: 0, epoch: EPOCH, saleId: SALE, grantId: "opening", units: UNITS });
  await reserve(redis, { shard: 0, saleId: SALE, outboxLimit: 1_000, purchases: ["anna", "bert", "cora"] });
  for (const [index, uid] of ["anna", "bert", "cora"].entries())
    await sql.query(
      `INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reserved_at_ms)
       VALUES ($1, $2, '', 0, $3, 2, $4, 1, 'pending_payment', 0)`,
      [SALE, uid, EPOCH, index],
    );
});

const close = (state: string, uid = "anna") => sql.query("UPDATE orders SET state = $1 WHERE uid = $2", [state, uid]);
const giveBack = (id = ANNA, units = 1) =>
  sql.query("INSERT INTO grants (id, sale_id, shard, units, kind) VALUES ($2, $1, 0, $3, 'returned')", [SALE, id, units]);
const takeIn = (id = ANNA) => grant(redis, { shard: 0, epoch: EPOCH, saleId: SALE, grantId: id, units: 1 });
const apply = async (seq = 3): Promise<void> => {
  await sql.query("UPDATE grants SET state = 'done' WHERE kind = 'returned'");
  await sql.query("UPDATE sale_shards SET sold = sold - 1");
  await sql.query("UPDATE shards SET applied = $1", [seq]);
};
const pay = (uid: string, index: number, decision: string) =>
  sql.query(
    `INSERT INTO payments (id, sale_id, uid, shard, epoch, seq, idx, decision) VALUES ($2 || '-' || $5, $1, $2, 0, $3, 2, $4, $5)`,
    [SALE, uid, EPOCH, index, decision],
  );
const kinds = (report: AuditReport): string[] => [...new Set(report.differences.map((found) => found.kind))].toSorted();

it("a closed order's unit is in flight until Redis has it, and free from then on", async () => {
  for (const state of ["expired", "cancelled", "refunded"]) {
    await close(state);
    if (state === "expired") await giveBack();
    expect(await audit(stores)).toMatchObject({ ok: true, sales: [{ free: 7, inFlight: 1, sold: 2 }] });
  }
  await takeIn();
  expect(await audit(stores)).toMatchObject({ ok: true, sales: [{ free: 8, inFlight: 0, sold: 2 }] });
  await apply();
  expect(await audit(stores)).toMatchObject({ ok: true, orders: 2, sales: [{ free: 8, inFlight: 0, sold: 2 }] });
});

it("late money that found its unit is a live order again, and a payment that is paid back is none", async () => {
  await close("paid");
  await pay("anna", 0, "reacquired");
  await pay("bert", 1, "refund");
  expect(await audit(stores)).toMatchObject({ ok: true, sales: [{ free: 7, inFlight: 0, sold: 3 }] });
});

const faults: readonly { readonly name: string; readonly plant: () => Promise<unknown>; readonly found: readonly string[] }[] = [
  { name: "an order is closed and gives nothing back", plant: () => close("expired"), found: ["return_missing", "sold_counter", "units"] },
  { name: "a live order gives its unit back", plant: () => giveBack(), found: ["return_unfounded", "sold_counter", "units"] },
  {
    name: "an order gives its unit back twice",
    plant: async () => {
      await close("expired");
      await giveBack();
      await giveBack("again");
    },
    found: ["return_unfounded", "sold_counter", "units"],
  },
  {
    name: "an order gives more back than it had",
    plant: async () => {
      await close("cancelled");
      await giveBack(ANNA, 2);
    },
    found: ["return_unfounded", "sold_counter", "units"],
  },
  {
    name: "an expired order whose unit came back is still counted as sold",
    plant: async () => {
      await close("expired");
      await giveBack();
      await takeIn();
      await apply();
      await sql.query("UPDATE sale_shards SET sold = sold + 1");
    },
    found: ["sold_counter"],
  },
  {
    name: "a closed order's buyer is forgotten by Redis, and may buy again",
    plant: async () => {
      await close("expired");
      await giveBack();
      await redis.hdel(saleKeys(0, SALE).buyers, "anna");
    },
    found: ["order_without_reservation"],
  },
  {
    name: "a unit comes back to a sale that stays flagged",
    plant: async () => {
      await sql.query("UPDATE sales SET sold_out_version = returns_seq");
      await redis.hset(saleKeys(0, SALE).sale, "left", 0);
      await sql.query("UPDATE sales SET total_units = 3");
      await sql.query("UPDATE grants SET units = 3");
      await sql.query("UPDATE sale_shards SET quota = 3");
      expect(await audit(stores)).toMatchObject({ ok: true });
      await close("expired");
      await giveBack();
    },
    found: ["false_sold_out"],
  },
  { name: "an order is paid and no payment is kept", plant: () => close("paid"), found: ["payment_differs"] },
  { name: "a payment is kept for an order that is not paid", plant: () => pay("anna", 0, "kept"), found: ["payment_differs"] },
];

it.each(faults)("is noticed: $name", async ({ plant, found }) => {
  expect(await audit(stores)).toMatchObject({ ok: true });
  await plant();
  expect(kinds(await audit(stores))).toEqual(found);
});
