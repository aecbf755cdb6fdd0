import { describe, expect, it } from "vitest";
import { decodeLogRecord, encodeLogRecord, type LogRecord } from "./log-record.ts";
import type { OrderRecord } from "./order.ts";
import { requests, type RequestName } from "./requests/contract.ts";
import { publications } from "./requests/publications.ts";
import { readReply, UnreadableReply } from "./requests/reply.ts";
import { saleRecordSchema, saleStateOf, type SaleRecord } from "./sale.ts";
import type { ShardFacts } from "./shard-facts.ts";

const sale: SaleRecord = {
  id: "phone",
  campaign: "spring",
  title: "A phone",
  totalUnits: 5,
  priceMinor: 100,
  currency: "CNY",
  opensAtMs: 1_000_000_000_000,
  closesAtMs: 2_000_000_000_000,
  limitPerBuyer: 1,
  payWithinMs: 0,
  state: "open",
  shards: [0, 1],
  version: 3,
};
const { totalUnits: units, shards: _shards, version: _version, state: _state, ...definition } = sale;
const address = { saleId: "phone", uid: "ann", orderId: "0-1-1-0" };
const order: OrderRecord = {
  ...address,
  units: 1,
  state: "paid",
  reservedAtMs: 1,
  payByMs: null,
  changedAtMs: 2,
  payments: [{ paymentId: "p", amountMinor: 100, decision: "kept", told: 1 }],
};
const facts: ShardFacts = {
  shard: 0,
  state: "open",
  epoch: 1,
  redisEpoch: 1,
  mode: "keep",
  holder: null,
  outboxEntries: 0,
  oldestMs: null,
  sales: 1,
  units: { left: 1, reserved: 0, sold: 4, arriving: 0 },
  memory: { usedBytes: 1_000_000, mostBytes: 0 },
  halted: null,
  draining: false,
  attempt: { holder: "h/1", phase: "open", orders: 0, ofUnits: 0, result: "open", agoMs: 5 },
};
const row = {
  shard: 0,
  epoch: 1,
  applied: 7,
  attempt: "a",
  mode: "keep",
  flagged: false,
  gap: { at: 7, streamSeq: 9 },
  wall: false,
  halted: null,
  draining: false,
};
const transfer = { shard: 0, soldUnits: 1, sentUnits: 0, isDraining: false, receivedUnits: 0, receivedAgoMs: null };
const soldOut = { returnsSeq: 1, sentGrants: 0, soldOut: false, epochs: [[0, 1]], full: [0] };

/** One of each, as this version writes them: who adds a request adds its line. */
const examples: Readonly<Record<RequestName, readonly [body: object, value: object]>> = {
  row: [{ shard: 0 }, row],
  rowAndArchived: [
    { shard: 0, sales: ["phone"] },
    { row, archived: ["phone"] },
  ],
  restore: [
    { shard: 0, epoch: 1, attempt: "a", replicationId: "r" },
    { orders: 1, ofUnits: 2, done: false },
  ],
  soldOutFacts: [{ saleId: "phone" }, soldOut],
  soldOutSet: [{ saleId: "phone", returnsSeq: 1 }, {}],
  soldOutFlags: [{}, [{ saleId: "phone", version: 1 }]],
  transferFacts: [{ saleId: "phone" }, [transfer]],
  drainingShards: [{}, [0]],
  openSale: [{ ...definition, units, shardCount: 2 }, sale],
  changeSale: [{ id: "phone", state: "paused" }, sale],
  addUnits: [{ saleId: "phone", grantId: "more", units: 1 }, sale],
  sales: [{ archived: false }, [sale]],
  findSales: [{ ids: ["phone"] }, [{ ...sale, state: "archived" }]],
  purchaseOrders: [
    { saleId: "phone", purchases: [{ uid: "ann", key: "" }] },
    [{ orderId: "0-1-1-0", units: 1, state: "pending_payment", payByMs: 9, reason: null }, null],
  ],
  order: [address, order],
  payOrder: [
    { ...address, paymentId: "p", amountMinor: 100 },
    { decision: "kept", order },
  ],
  changeOrder: [{ ...address, change: "cancel" }, order],
  shards: [{ all: true }, [facts]],
  changeShard: [{ shard: 0, change: "drain" }, facts],
};

/** As a later version may send it: every object of it has fields that are not known here. */
const later = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map((item) => later(item));
  if (typeof value !== "object" || value === null) return value;
  return { ...Object.fromEntries(Object.entries(value).map(([key, item]) => [key, later(item)])), laterField: { a: [1] }, laterToo: null };
};
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

describe("what a later version adds", () => {
  it.each(Object.entries(examples) as [RequestName, (typeof examples)[RequestName]][])(
    "to the request %s and its reply is not minded",
    (name, [body, value]) => {
      const { subject, body: bodySchema, value: valueSchema } = requests[name];
      expect(bodySchema.parse(later(body))).toEqual(body);
      expect(readReply(subject, valueSchema, bytes(later({ ok: true, value })))).toEqual({ ok: true, value });
    },
  );

  it("to a refusal is not minded, and a code that is not known is one that leaves all open", () => {
    const { subject, value } = requests.openSale;
    const refusal = { ok: false, code: "conflict", detail: "because" };
    expect(readReply(subject, value, bytes(later(refusal)))).toEqual(refusal);
    expect(readReply(subject, value, bytes({ ...refusal, code: "too_many_sales" }))).toEqual({ ...refusal, code: "unavailable" });
    for (const wrong of [{ ok: false }, { ok: "yes", value: sale }, { ok: true }, { ...refusal, code: 7 }, null, []])
      expect(() => readReply(subject, value, bytes(wrong)), JSON.stringify(wrong)).toThrow(UnreadableReply);
  });

  it.each([
    [publications.status, { shard: 0, epoch: 1, applied: 2, orders: [[2, "phone", "ann"]], rejected: [["0-1-1-0", "twice"]] }],
    [publications.ordersChanged, { orders: ["0-1-1-0"] }],
    [publications.applied, { shard: 0, epoch: 1, applied: 2 }],
    [publications.dry, { saleId: "phone", units: 1 }],
    [publications.attempt, { shard: 0, holder: "h", phase: "open", orders: 0, ofUnits: 0, result: null }],
  ])("to a publication is not minded: %j", ({ body }, told) => {
    expect(body.parse(later(told))).toEqual(told);
  });

  it.each([
    ["order", { ...order, state: "returned", payments: [{ ...order.payments[0], decision: "split" }] }],
    ["changeOrder", { ...order, state: "returned" }],
    ["shards", [{ ...facts, state: "moving", mode: "merge", attempt: { ...facts.attempt, phase: "verify" } }]],
    ["changeShard", { ...facts, state: "moving" }],
  ] as const)("to the states in the reply of %s is shown to people as it is", (name, value) => {
    const { subject, value: valueSchema } = requests[name];
    expect(readReply(subject, valueSchema, bytes({ ok: true, value }))).toEqual({ ok: true, value });
  });

  it("to a sale's record is not minded; more than a reader needs is not asked of it", () => {
    expect(saleRecordSchema.parse(later(sale))).toEqual(sale);
    const large = { ...sale, title: "x".repeat(10_000), totalUnits: 5_000_000_000, limitPerBuyer: 100_000, currency: "points" };
    expect(saleRecordSchema.parse(large)).toEqual(large);
  });

  it("as a sale's state does not sell, and is no reason to drop the sale", () => {
    expect(saleRecordSchema.parse({ ...sale, state: "members_only" })).toEqual({ ...sale, state: "paused" });
    expect(["open", "paused", "closed", "archived", "members_only"].map((text) => saleStateOf(text))).toEqual([
      "open",
      "paused",
      "closed",
      "archived",
      "paused",
    ]);
    for (const state of [undefined, null, 1, {}]) expect(saleRecordSchema.safeParse({ ...sale, state }).success).toBe(false);
  });

  it("as an order's state is left out: the order is there, and binds its buyer", () => {
    const { subject, value } = requests.purchaseOrders;
    const told = { orderId: "0-1-1-0", units: 1, payByMs: null, reason: null };
    const read = readReply(
      subject,
      value,
      bytes({
        ok: true,
        value: [
          { ...told, state: "shipped" },
          { ...told, state: "paid" },
        ],
      }),
    );
    expect(read).toEqual({ ok: true, value: [told, { ...told, state: "paid" }] });
    // one that cannot be read says nothing of the others, and is not taken for none
    for (const strange of [{ ...told, state: null }, { ...told, units: 0 }, { ...told, payByMs: "soon" }, {}, "paid", 7])
      expect(readReply(subject, value, bytes({ ok: true, value: [strange, null, told] })), JSON.stringify(strange)).toEqual({
        ok: true,
        value: [undefined, null, told],
      });
  });

  it("to a list of sales does not hide the others: one that cannot be read is named in its place", () => {
    const { subject, value } = requests.sales;
    const strange = { ...sale, id: "strange", opensAtMs: -5 };
    const read = readReply(
      subject,
      value,
      bytes({ ok: true, value: [sale, strange, { id: "told", problem: "of it", more: 1 }, 7, null, {}] }),
    );
    expect(read).toEqual({
      ok: true,
      value: [
        sale,
        { id: "strange", problem: expect.stringMatching(/^opensAtMs: /) },
        { id: "told", problem: "of it" },
        ...[7, null, {}].map(() => ({ id: "", problem: expect.any(String) })),
      ],
    });
  });

  it("where safety rests on a closed set is not taken for something else", () => {
    const { subject, value } = requests.row;
    expect(() => readReply(subject, value, bytes({ ok: true, value: { ...row, mode: "patch" } }))).toThrow(UnreadableReply);
  });
});

describe("what a version before did not send", () => {
  it("has its default", () => {
    const { payWithinMs: _payWithinMs, ...before } = sale;
    expect(saleRecordSchema.parse(before)).toEqual(sale);
  });
});

describe("a record of the log", () => {
  const entries: LogRecord = {
    type: "entries",
    shard: 0,
    epoch: 1,
    entries: [
      { kind: "o", seq: 1, saleId: "phone", atMs: 5, count: 1, purchases: "ann" },
      { kind: "g", seq: 2, saleId: "phone", atMs: 6, grantId: "more", units: 5 },
      { kind: "w", seq: 3, saleId: "phone", atMs: 7, receiver: 1, units: 2 },
    ],
  };
  const marker: LogRecord = { type: "marker", shard: 0, begins: 2, from: 1, redisEpoch: 1, upto: "1-3", attempt: "a" };
  const wireOf = (message: LogRecord): Record<string, unknown> & { entries?: unknown[][] } =>
    JSON.parse(new TextDecoder().decode(encodeLogRecord(message))) as Record<string, unknown>;

  it.each([entries, marker])("of a later version is read without what it has added: $type", (message) => {
    const wire = wireOf(message);
    const longer = wire.entries?.map((entry) => [...entry, "later", 1]);
    expect(decodeLogRecord(bytes({ ...wire, laterField: 1, ...(longer === undefined ? {} : { entries: longer }) }))).toEqual(message);
  });

  it("with an entry of a kind that is not known, or of another format, is not read in part", () => {
    const wire = wireOf(entries);
    expect(decodeLogRecord(bytes({ ...wire, entries: [...(wire.entries ?? []), [4, "z", "phone", 8, 1, 1]] }))).toBeUndefined();
    expect(decodeLogRecord(bytes({ ...wire, v: 2 }))).toBeUndefined();
  });
});
