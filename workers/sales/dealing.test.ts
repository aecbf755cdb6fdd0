import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import * as fc from "fast-check";
import { openSaleSchema, type OpenSale } from "#protocol";
import { freshDatabase, type TestDatabase } from "../../test/harness/index.ts";
import { connectDatabase, ensureShards, type Database } from "../db/database.ts";
import { deal, usualShardCount } from "./dealing.ts";
import { addUnits, openSale } from "./commands.ts";
import { drainingShards, transferFacts } from "./transfers.ts";

const SHARDS = 4;

let empty: TestDatabase;
let database: Database;
beforeAll(async () => {
  empty = await freshDatabase();
  database = await connectDatabase({ url: empty.url, pool: 4, name: "dealing-test" });
});
afterAll(async () => {
  await database.close();
  await empty.drop();
});
beforeEach(async () => {
  await database.sql("TRUNCATE grants, sale_shards, sales, shards CASCADE");
  await ensureShards(database.sql, SHARDS);
});

const sale = (id: string, units: number, change: Partial<OpenSale> = {}): OpenSale =>
  openSaleSchema.parse({ id, title: id, units, opensAtMs: 1_000_000_000_000, closesAtMs: 4_000_000_000_000, ...change });
const open = (...args: Parameters<typeof sale>) => openSale(database, SHARDS, sale(...args));
const shardsOf = async (...args: Parameters<typeof sale>): Promise<readonly number[]> => {
  const answer = await open(...args);
  if (!answer.ok) throw new Error(answer.detail);
  return answer.value.shards;
};
/** `shard: units` of each grant under one id */
const dealt = async (saleId: string, grantId: string): Promise<string[]> =>
  (await database.sql("SELECT shard, units FROM grants WHERE sale_id = ? AND id = ? ORDER BY shard", [saleId, grantId])).rows.map(
    (row) => `${String(row["shard"])}: ${String(row["units"])}`,
  );
const drain = (shard: number) => database.sql("UPDATE shards SET draining = true WHERE shard = ?", [shard]);
const halt = (shard: number) => database.sql("UPDATE shards SET halted = 'test' WHERE shard = ?", [shard]);

describe("units", () => {
  it("are dealt evenly and completely", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: 16 }), (units, shards) => {
        const shares = deal(
          units,
          Array.from({ length: shards }, (_, shard) => shard),
        ).map((share) => share.units);
        expect(shares.reduce((sum, share) => sum + share, 0)).toBe(units);
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
        expect(shares).toHaveLength(Math.min(units, shards));
      }),
    );
  });

  it("get another shard for every thousand, where the operator does not say", () => {
    expect([1, 999, 1_000, 2_500, 20_000].map((units) => usualShardCount(units, 8))).toEqual([1, 1, 1, 2, 8]);
  });
});

describe("opening a sale", () => {
  it("deals to as many shards as its units are worth, or as the operator says", async () => {
    expect(await shardsOf("small", 100)).toHaveLength(1);
    expect(await shardsOf("large", 3_500)).toHaveLength(3);
    expect(await shardsOf("spread", 10, { shardCount: 4 })).toEqual([0, 1, 2, 3]);
    expect(await dealt("spread", "opening")).toHaveLength(4);
    expect((await dealt("spread", "opening")).map((text) => text.slice(3)).toSorted()).toEqual(["2", "2", "3", "3"]);
  });

  it("is a repeat with the same number of shards or none said, a conflict with another", async () => {
    const first = await open("again", 10, { shardCount: 3 });
    expect(await open("again", 10, { shardCount: 3 })).toEqual(first);
    expect(await open("again", 10)).toEqual(first);
    expect(await open("again", 10, { shardCount: 2 })).toMatchObject({ ok: false, code: "conflict" });
  });

  it("gives nothing to a shard that is draining or halted, and says so when too few are left", async () => {
    await drain(1);
    await halt(2);
    expect(await shardsOf("all", 50_000)).toEqual([0, 3]);
    expect(await open("more", 10, { shardCount: 3 })).toMatchObject({ ok: false, code: "conflict" });
    await drain(0);
    await drain(3);
    expect(await open("none", 10)).toMatchObject({ ok: false, code: "conflict" });
  });

  it("prefers the emptiest shards", async () => {
    await open("big", 9_000, { shardCount: 2 });
    expect(await shardsOf("next", 10, { shardCount: 2 })).toEqual([2, 3]);
  });

  it("uses a shard that the fleet got later, for new sales only", async () => {
    await open("before", 8_000);
    await ensureShards(database.sql, SHARDS + 1);
    const answer = await openSale(database, SHARDS + 1, sale("after", 8_000));
    expect(answer).toMatchObject({ ok: true, value: { shards: [0, 1, 2, 3, 4] } });
    expect(await open("before", 8_000)).toMatchObject({ ok: true, value: { shards: [0, 1, 2, 3] } });
  });
});

describe("adding units", () => {
  const add = (saleId: string, grantId: string, units: number) => addUnits(database, { saleId, grantId, units });

  it("deals them like the opening, once for an id", async () => {
    await open("chair", 4, { shardCount: 4 });
    expect(await add("chair", "more", 10)).toMatchObject({ ok: true, value: { totalUnits: 14 } });
    expect(await add("chair", "more", 10)).toMatchObject({ ok: true, value: { totalUnits: 14 } });
    expect(await add("chair", "more", 11)).toMatchObject({ ok: false, code: "conflict" });
    expect(await dealt("chair", "more")).toEqual(["0: 3", "1: 3", "2: 2", "3: 2"]);
  });

  it("begins with the shards that have least, and passes over one that drains", async () => {
    await open("chair", 4, { shardCount: 4 });
    await database.sql("UPDATE sale_shards SET quota = 5 WHERE shard <> 2");
    await drain(0);
    await add("chair", "two", 2);
    expect(await dealt("chair", "two")).toEqual(["1: 1", "2: 1"]);
  });

  it("still reaches a sale whose every shard drains: the total was promised", async () => {
    await open("chair", 4, { shardCount: 1 });
    await drain(0);
    expect(await add("chair", "one", 1)).toMatchObject({ ok: true });
    expect(await dealt("chair", "one")).toEqual(["0: 1"]);
  });

  it("refuses an id that names a transfer", async () => {
    await open("chair", 4);
    expect(await add("chair", "t0-1-7", 1)).toMatchObject({ ok: false, code: "bad_request" });
  });
});

describe("the facts for moving units", () => {
  it("are of one moment: sold, on their way, received, draining", async () => {
    await open("chair", 4, { shardCount: 2 });
    await database.sql("UPDATE grants SET created_at = now() - interval '1 minute'");
    await database.sql("UPDATE grants SET state = 'done' WHERE shard = 0");
    await database.sql("UPDATE sale_shards SET quota = 2, sold = 1 WHERE shard = 0");
    await database.sql(
      "INSERT INTO grants (sale_id, id, shard, units, kind, from_shard, created_at) VALUES ('chair', 't0-1-2', 1, 3, 'transfer', 0, now() - interval '2 s')",
    );
    await drain(1);
    const answer = await transferFacts(database.sql, "chair");
    expect(answer).toMatchObject({
      ok: true,
      value: [
        { shard: 0, soldUnits: 1, sentUnits: 0, isDraining: false, receivedUnits: 0, receivedAgoMs: null },
        { shard: 1, soldUnits: 0, sentUnits: 5, isDraining: true, receivedUnits: 3 },
      ],
    });
    expect(answer.ok && answer.value[1]?.receivedAgoMs).toBeGreaterThanOrEqual(2_000);
    expect(await transferFacts(database.sql, "none")).toMatchObject({ ok: false, code: "not_found" });
    expect(await drainingShards(database.em())).toEqual([1]);
    // added stock came for nobody: the transfer before it is past
    await database.sql("UPDATE shards SET draining = false");
    await addUnits(database, { saleId: "chair", grantId: "more", units: 2 });
    expect(await transferFacts(database.sql, "chair")).toMatchObject({
      value: [{ receivedAgoMs: null }, { receivedUnits: 0, receivedAgoMs: null }],
    });
  });
});
