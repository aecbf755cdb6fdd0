import { rm } from "node:fs/promises";
import type { KV, NatsConnection } from "nats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectNats } from "#program";
import { openSaleSchema, SALES_BUCKET, saleRecordSchema } from "#protocol";
import { freshDatabase, startNats, until, type NatsServer, type TestDatabase } from "../../test/harness/index.ts";
import { connectDatabase, ensureShards, type Database } from "../db/database.ts";
import { BUCKET_LOCK, SalesBucket } from "./bucket.ts";
import { addUnits, changeSale, openSale } from "./commands.ts";
import { readSales } from "./records.ts";

let empty: TestDatabase;
let database: Database;
let nats: NatsServer;
let connection: NatsConnection;
let bucket: SalesBucket;

const open = (id: string) =>
  openSale(
    database,
    1,
    openSaleSchema.parse({ id, title: `Sale ${id}`, units: 10, opensAtMs: 1_000_000_000_000, closesAtMs: 4_000_000_000_000 }),
  );
const faults: string[] = [];
const newBucket = (of = database): SalesBucket => new SalesBucket(of, connection, (error) => faults.push((error as Error).message));
const kv = (): Promise<KV> => connection.jetstream().views.kv(SALES_BUCKET, { bindOnly: true });
const held = async (): Promise<Record<string, unknown>> => {
  const view = await kv();
  const records: Record<string, unknown> = {};
  for (const key of ["chair", "lamp", "desk", "ghost"]) {
    const entry = await view.get(key);
    if (entry?.operation === "PUT") records[key] = entry.json();
  }
  return records;
};
const wanted = async () => Object.fromEntries((await readSales(database.em())).map((sale) => [sale.id, sale]));

beforeAll(async () => {
  [empty, nats] = await Promise.all([freshDatabase(), startNats()]);
  database = await connectDatabase({ url: empty.url, pool: 4, name: "bucket-test" });
  connection = await connectNats({ NATS_URL: nats.url, NATS_USER: nats.user, NATS_PASSWORD: nats.pass }, "bucket-test");
  await ensureShards(database.sql, 1);
  bucket = newBucket();
});
afterAll(async () => {
  await connection.close();
  await Promise.all([nats.stop(), database.close()]);
  await empty.drop();
});

describe("the bucket of sales", () => {
  it("is made if it is missing and holds each sale's record", async () => {
    await open("chair");
    expect(await bucket.converge()).toBe(true);
    const records = await held();
    expect(Object.keys(records)).toEqual(["chair"]);
    expect(saleRecordSchema.parse(records["chair"])).toMatchObject({ id: "chair", totalUnits: 10, shards: [0], version: 1 });
  });

  it("follows every change, and writes nothing when there is none", async () => {
    await open("lamp");
    await changeSale(database, { id: "chair", state: "paused" });
    await addUnits(database, { saleId: "chair", grantId: "more", units: 5 });
    await bucket.converge();
    expect(await held()).toEqual(await wanted());
    const before = (await (await kv()).status()).streamInfo.state.last_seq;
    await bucket.converge();
    await newBucket().converge();
    expect((await (await kv()).status()).streamInfo.state.last_seq).toBe(before);
  });

  it("loses the sales that are archived, and after a while their markers too", async () => {
    await open("desk");
    await bucket.converge();
    await database.sql("UPDATE sales SET archived = true WHERE id = 'desk'");
    await bucket.converge();
    expect(Object.keys(await held())).not.toContain("desk");
    const marker = { filter: `$KV.${SALES_BUCKET}.desk` };
    const manager = await connection.jetstreamManager();
    const markers = async () => (await manager.streams.info(`KV_${SALES_BUCKET}`, { subjects_filter: marker.filter })).state.subjects;
    expect(await markers()).toBeDefined();
    // by a worker whose Postgres is an hour later
    const sql: typeof database.sql = (text, bindings) => database.sql(text.replace("now()", "now() + interval '1 hour'"), bindings);
    const later: Database = { ...database, transaction: (work) => database.transaction((_sql, em) => work(sql, em)) };
    await newBucket(later).converge();
    expect(await markers()).toBeUndefined();
    await database.sql("DELETE FROM grants WHERE sale_id = 'desk'");
    await database.sql("DELETE FROM sale_shards WHERE sale_id = 'desk'");
    await database.sql("DELETE FROM sales WHERE id = 'desk'");
  });

  it("is put right when somebody else wrote, deleted or spoiled a record", async () => {
    const view = await kv();
    await view.put("chair", "spoiled");
    await view.put("ghost", JSON.stringify({ ...(await wanted())["lamp"], id: "ghost" }));
    await view.delete("lamp");
    await bucket.converge();
    expect(await held()).toEqual(await wanted());
  });

  it("keeps what a worker of a later version has written beside, until the record changes", async () => {
    const view = await kv();
    const later = { ...(await wanted())["lamp"], badge: "new" };
    await view.put("lamp", JSON.stringify(later));
    await bucket.converge();
    await newBucket().converge();
    expect((await held())["lamp"]).toEqual(later);
    await changeSale(database, { id: "lamp", state: "paused" });
    await bucket.converge();
    expect(await held()).toEqual(await wanted());
  });

  it("tells of a record that nobody can read, leaves what it has of it, and follows the others", async () => {
    const before = (await held())["chair"];
    const spoil = (change: string): Promise<unknown> =>
      database.sql(`UPDATE sales SET ${change}, version = version + 1 WHERE id = 'chair'`);
    for (const change of ["opens_at_ms = -5", "opens_at_ms = 1, closes_at_ms = 9007199254740993", "id = 'a chair'"]) {
      faults.length = 0;
      if (change.startsWith("id"))
        await database.sql(
          "INSERT INTO sales SELECT 'a chair', campaign, title, total_units, price_minor, currency, -5, closes_at_ms, limit_per_buyer, state FROM sales WHERE id = 'chair'",
        );
      else await spoil(change);
      await changeSale(database, { id: "lamp", state: "open" });
      await changeSale(database, { id: "lamp", state: "paused" });
      await bucket.converge();
      expect((await held())["chair"]).toEqual(before);
      expect((await held())["lamp"]).toEqual((await wanted())["lamp"]);
      expect(faults.join("\n")).toMatch(/^the record of sale "a? ?chair" cannot be read: /);
    }
    await database.sql("DELETE FROM sales WHERE id = 'a chair'");
    await spoil("opens_at_ms = 1000000000000, closes_at_ms = 4000000000000");
    faults.length = 0;
    await bucket.converge();
    expect(await held()).toEqual(await wanted());
    expect(faults).toEqual([]);
  });

  it("is made again after the broker lost everything", async () => {
    await nats.kill();
    await rm(nats.dir, { recursive: true });
    await nats.start();
    await until(() => bucket.converge().catch(() => false), "the bucket to be made again");
    expect(await held()).toEqual(await wanted());
  });

  it("is the work of one process at a time", async () => {
    await open("desk");
    await database.transaction(async (sql) => {
      await sql("SELECT pg_advisory_xact_lock(?)", [BUCKET_LOCK]);
      expect(await bucket.converge()).toBe(false);
    });
    const others = Array.from({ length: 3 }, () => newBucket());
    await Promise.all([bucket, ...others].map((one) => one.converge()));
    expect(await held()).toEqual(await wanted());
    const { state } = (await (await kv()).status()).streamInfo;
    expect(state.messages).toBe(3);
  });
});
