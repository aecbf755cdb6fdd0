import type { Redis } from "ioredis";
import type { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defineSale, grant, saleKeys, shardKeys, withdraw } from "#lua";
import { givenSale } from "../../test/harness/index.ts";
import { startAuditWorld, type AuditWorld } from "../../test/harness/audit-world.ts";
import { audit, type AuditStores } from "./audit.ts";
import type { AuditReport } from "./report.ts";

/** Units that move between two shards: at each instant in exactly one place, and in none twice. Written without the engine's code. */
const SALE = "phone";
const UNITS = 10;
const EPOCH = 3;
const FAR_MS = 4_000_000_000_000;

let world: AuditWorld;
let redis: Redis;
let sql: Client;
let stores: AuditStores;

beforeAll(async () => {
  world = await startAuditWorld(2);
  ({ redis, sql, stores } = world);
});
afterAll(() => world?.close());

beforeEach(async () => {
  await redis.flushall();
  await sql.query("TRUNCATE orders, grants, sale_shards, sales, shards CASCADE");
  for (const shard of [0, 1]) await sql.query("INSERT INTO shards (shard, epoch) VALUES ($1, $2)", [shard, EPOCH]);
  await givenSale(sql, { id: SALE, totalUnits: UNITS, closesAtMs: FAR_MS, shards: [{ shard: 0 }, { shard: 1 }] });
  const replid = /master_replid:(\w+)/.exec(await redis.info("replication"))?.[1];
  for (const shard of [0, 1]) {
    const keys = shardKeys(shard);
    await redis.mset(keys.epoch, EPOCH, keys.open, `${EPOCH} ${replid}`, keys.applied, `${EPOCH}-0`);
    await redis.xadd(keys.outbox, "MAXLEN", "=", 0, `${EPOCH}-0`, "k", "x");
    await defineSale(redis, { shard, epoch: EPOCH, saleId: SALE, version: 1, state: "open", limit: 1, opensAtMs: 0, closesAtMs: FAR_MS });
  }
  await sql.query("INSERT INTO grants (id, sale_id, shard, units, kind) VALUES ('opening', $1, 0, $2, 'opening')", [SALE, UNITS]);
  await grant(redis, { shard: 0, epoch: EPOCH, saleId: SALE, grantId: "opening", units: UNITS });
  await sql.query("UPDATE grants SET state = 'done'");
  await sql.query("UPDATE sale_shards SET quota = $1 WHERE shard = 0", [UNITS]);
  await sql.query("UPDATE shards SET applied = 1 WHERE shard = 0");
});

const takeOut = async (units = 4): Promise<void> => {
  expect(await withdraw(redis, { shard: 0, epoch: EPOCH, saleId: SALE, units, receiver: 1, moves: 1 })).toMatchObject({ status: "ok" });
};
const applyWithdrawal = async (): Promise<void> => {
  await sql.query("UPDATE sale_shards SET quota = quota - 4 WHERE shard = 0");
  await sql.query(`INSERT INTO grants (id, sale_id, shard, units, kind, from_shard) VALUES ('t0-${EPOCH}-2', $1, 1, 4, 'transfer', 0)`, [
    SALE,
  ]);
  await sql.query("UPDATE shards SET applied = 2 WHERE shard = 0");
};
const deliver = async (): Promise<void> => {
  await grant(redis, { shard: 1, epoch: EPOCH, saleId: SALE, grantId: `t0-${EPOCH}-2`, units: 4 });
};
const applyArrival = async (): Promise<void> => {
  await sql.query("UPDATE grants SET state = 'done'");
  await sql.query("UPDATE sale_shards SET quota = quota + 4 WHERE shard = 1");
  await sql.query("UPDATE shards SET applied = 1 WHERE shard = 1");
};

const balance = (report: AuditReport) => {
  const { free, reserved, inFlight, sold } = report.sales[0] as AuditReport["sales"][number];
  return { free, reserved, inFlight, sold };
};
const sound = async (free: number, inFlight: number): Promise<void> => {
  const report = await audit(stores);
  expect(report.differences).toEqual([]);
  expect(balance(report)).toEqual({ free, reserved: 0, inFlight, sold: 0 });
};

describe("units on their way", () => {
  it("are counted at each step, from the donor's entry to the receiver's quota", async () => {
    await sound(10, 0);
    await takeOut();
    await sound(6, 4);
    await applyWithdrawal();
    await sound(6, 4);
    await deliver();
    await sound(10, 0);
    await applyArrival();
    await sound(10, 0);
  });

  it("are not counted twice when the receiver was read after the whole transfer and the donor before it", async () => {
    const donor = redis.duplicate();
    const receiver = redis.duplicate();
    const donorWasRead = new Promise<void>((resolve) => {
      const multi = donor.multi.bind(donor);
      donor.multi = ((...args: Parameters<typeof multi>) => {
        const transaction = multi(...args);
        const exec = transaction.exec.bind(transaction);
        transaction.exec = async () => {
          const read = await exec();
          resolve();
          return read;
        };
        return transaction;
      }) as typeof donor.multi;
    });
    const moved = donorWasRead.then(async () => {
      await takeOut();
      await applyWithdrawal();
      await deliver();
      await applyArrival();
    });
    const smembers = receiver.smembers.bind(receiver);
    receiver.smembers = async (key: string) => {
      await moved;
      return smembers(key);
    };
    const report = await audit({ ...stores, redis: [donor, receiver] });
    expect(report.shards.map(({ redis: at }) => at)).toEqual([`${EPOCH}-1`, `${EPOCH}-1`]);
    expect(report.differences).toEqual([]);
    expect(balance(report)).toEqual({ free: 10, reserved: 0, inFlight: 0, sold: 0 });
    donor.disconnect();
    receiver.disconnect();
  });

  it("that were lost are missed", async () => {
    await takeOut();
    await applyWithdrawal();
    await sql.query("DELETE FROM grants WHERE kind = 'transfer'");
    const report = await audit(stores);
    expect(new Set(report.differences.map(({ kind }) => kind))).toEqual(new Set(["units", "quota"]));
  });

  it("that came twice are noticed", async () => {
    await takeOut();
    await applyWithdrawal();
    await deliver();
    await redis.hincrby(saleKeys(1, SALE).sale, "left", 4);
    expect((await audit(stores)).differences.map(({ kind }) => kind)).toEqual(["units"]);
  });

  it("make a sold-out flag a lie, in the entry and in the grant", async () => {
    await takeOut(10);
    await sql.query("UPDATE sales SET sold_out_version = returns_seq");
    expect((await audit(stores)).differences.map(({ kind }) => kind)).toEqual(["false_sold_out"]);
    await sql.query("UPDATE sale_shards SET quota = 0 WHERE shard = 0");
    await sql.query(`INSERT INTO grants (id, sale_id, shard, units, kind, from_shard) VALUES ('t0-${EPOCH}-2', $1, 1, 10, 'transfer', 0)`, [
      SALE,
    ]);
    await sql.query("UPDATE shards SET applied = 2 WHERE shard = 0");
    expect((await audit(stores)).differences.map(({ kind }) => kind)).toEqual(["false_sold_out"]);
  });
});
