import { connect, type NatsConnection } from "nats";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#program/system";
import type { SaleRecord } from "#protocol/sale";
import { SALES_BUCKET } from "#protocol/subjects";
import { startNats, until, type NatsServer } from "../../test/harness/index.ts";
import { readSale, SaleBook } from "../sales/book.ts";
import { watchBucket } from "./sale-bucket.ts";
import { saleRecord } from "../../test/harness/sale-record.ts";

let server: NatsServer;
let nats: NatsConnection;
const ends: (() => Promise<void>)[] = [];

const record = (id: string, part: Partial<SaleRecord> = {}): SaleRecord => saleRecord({ id, opensAtMs: 1, closesAtMs: 2, ...part });

const put = async (value: SaleRecord | string, key = typeof value === "string" ? "x" : value.id): Promise<void> => {
  const bucket = await nats.jetstream().views.kv(SALES_BUCKET);
  await bucket.put(key, typeof value === "string" ? value : JSON.stringify(value));
};

/** A gateway's book on a connection of its own. */
const watched = async (): Promise<{ book: SaleBook; isLoaded: () => boolean; connection: NatsConnection }> => {
  const connection = await connect({
    servers: server.url,
    user: server.user,
    pass: server.pass,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
  });
  const book = new SaleBook();
  const stop = new AbortController();
  let loads = 0;
  const watching = watchBucket({
    nats: connection,
    book,
    clock: systemClock,
    log: pino({ level: "silent" }),
    stop: stop.signal,
    shards: 2,
    onLoaded: () => (loads += 1),
  });
  ends.push(async () => {
    stop.abort();
    await watching;
    await connection.close();
  });
  return { book, isLoaded: () => loads > 0, connection };
};

beforeAll(async () => {
  server = await startNats();
  nats = await connect({ servers: server.url, user: server.user, pass: server.pass, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
});
afterEach(async () => {
  await Promise.all(ends.splice(0).map((end) => end()));
});
afterAll(async () => {
  await nats.close();
  await server.stop();
});

const titleOf = (book: SaleBook, id: string): string | undefined => book.get(id)?.record.title;

describe("the bucket of sales", () => {
  it("is waited for, then followed: new sales, changes, removals", async () => {
    const early = await watched();
    await put(record("a"));
    await until(() => early.book.get("a") !== undefined && early.isLoaded(), "the first sale is known");
    const late = await watched();
    await until(() => late.isLoaded(), "a second gateway has loaded");
    expect(titleOf(late.book, "a")).toBe("A thing");
    await put(record("a", { title: "Changed", version: 2 }));
    await put(record("b"));
    for (const { book } of [early, late]) {
      await until(() => book.get("b") !== undefined, "the second sale is known");
      expect(titleOf(book, "a")).toBe("Changed");
    }
    const bucket = await nats.jetstream().views.kv(SALES_BUCKET);
    await bucket.delete("b");
    await until(() => early.book.get("b") === undefined, "the second sale is gone");
    expect(early.book.get("a")).toBeDefined();
  });

  it("with a record that is wrong or older keeps what it knew", async () => {
    const { book } = await watched();
    await put(record("c", { version: 5, title: "Five" }));
    await put(record("c", { version: 4, title: "Four" }));
    await put("{", "c");
    await put(JSON.stringify({ ...record("c", { version: 6 }), shards: [] }), "c");
    await put(JSON.stringify(record("other", { version: 6 })), "c");
    await put(record("end"));
    await until(() => book.get("end") !== undefined, "all were read");
    expect(titleOf(book, "c")).toBe("Five");
    expect(book.get("other")).toBeUndefined();
  });

  it("with a record of a later version knows the sale, and does not sell what it does not understand", async () => {
    const { book } = await watched();
    const later = { ...record("later"), title: "x".repeat(1_000), limitPerBuyer: 5_000, badge: { text: "new" } };
    await put(JSON.stringify(later), "later");
    await until(() => book.get("later") !== undefined, "the sale is known");
    expect(book.get("later")?.record).toMatchObject({ title: later.title, limitPerBuyer: 5_000, state: "open" });
    await put(JSON.stringify({ ...later, state: "reserved-for-members", version: 2 }), "later");
    await until(() => book.get("later")?.record.version === 2, "the change is known");
    expect(book.get("later")?.record.state).toBe("paused");
  });

  it("away does not matter to what is known, and is followed again when it is back", async () => {
    const { book } = await watched();
    await put(record("d"));
    await until(() => book.get("d") !== undefined, "the sale is known");
    await server.kill();
    expect(titleOf(book, "d")).toBe("A thing");
    await server.start();
    await until(async () => {
      await put(record("d", { title: "Back", version: 2 })).catch(() => undefined);
      return titleOf(book, "d") === "Back";
    }, "the change is known");
  });

  it("deleted and made anew is followed again, and forgets nothing", async () => {
    const { book } = await watched();
    await put(record("e"));
    await until(() => book.get("e") !== undefined, "the sale is known");
    for (const round of [1, 2]) {
      const bucket = await nats.jetstream().views.kv(SALES_BUCKET);
      await bucket.destroy();
      await put(record(`new-${round}`));
      await until(() => book.get(`new-${round}`) !== undefined, "the new bucket is followed");
      expect(book.get("e")).toBeDefined();
    }
  });
});

describe("a sale's record", () => {
  const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

  it("is taken whole or refused with a sentence", () => {
    expect(readSale("a", bytes(record("a")), 1)).toEqual(record("a"));
    expect(readSale("a", bytes("nonsense"), 1)).toBe("not JSON");
    expect(readSale("a", bytes(record("b")), 1)).toBe("its id is b");
    expect(readSale("a", bytes(record("a", { shards: [1] })), 1)).toBe("shard 1 is not configured here");
    expect(readSale("a", bytes({ ...record("a"), limitPerBuyer: 0 }), 1)).toContain("limitPerBuyer");
  });
});

describe("a sale's view", () => {
  it("is made once a change; its validator names the bytes", () => {
    const book = new SaleBook();
    book.put(record("a"));
    const sale = book.get("a");
    const before = sale?.view(0);
    expect(sale?.view(0)).toBe(before);
    expect(JSON.parse(before?.body.toString() ?? "")).toMatchObject({ id: "a", title: "A thing", soldOut: false });
    expect(JSON.parse(before?.body.toString() ?? "")).not.toHaveProperty("shards");
    expect(before?.etag).toMatch(/^"[\w-]{22}"$/);
    sale?.flag(1, 0);
    expect(sale?.view(0).etag).not.toBe(before?.etag);
    expect(sale?.view(1_000)).toBe(before);
    book.put(record("a", { title: "Other", version: 2 }));
    expect(sale?.view(1_000).etag).not.toBe(before?.etag);
  });
});
