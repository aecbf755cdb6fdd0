import { defineEntity, type InferEntity } from "@mikro-orm/core";

/** The tables of DESIGN section 9. The migrations make them; a test compares the two. */
export const Shard = defineEntity({
  name: "Shard",
  tableName: "shards",
  properties: (p) => ({
    shard: p.integer().primary(),
    epoch: p.bigint("number"),
    /** seq of the last applied entry of `epoch` */
    applied: p.bigint("number"),
    attempt: p.text(),
    mode: p.text(),
    /** its epoch began with free units of a sale that had been flagged sold out */
    flagged: p.boolean(),
    gapAt: p.bigint("number").nullable(),
    gapStreamSeq: p.bigint("number").nullable(),
    wall: p.boolean(),
    halted: p.text().nullable(),
    /** its units move to other shards, and it gets none */
    draining: p.boolean(),
  }),
});

export const Sale = defineEntity({
  name: "Sale",
  tableName: "sales",
  properties: (p) => ({
    id: p.text().primary(),
    campaign: p.text(),
    title: p.text(),
    /** units ever put on sale */
    totalUnits: p.bigint("number"),
    priceMinor: p.bigint("number"),
    currency: p.text(),
    opensAtMs: p.bigint("number"),
    closesAtMs: p.bigint("number"),
    limitPerBuyer: p.integer(),
    /** an order that is not paid so long after its reservation expires; 0: never */
    payWithinMs: p.bigint("number"),
    state: p.text(),
    version: p.integer(),
    /** raised by everything that frees a unit and by every new epoch of a shard of the sale (DESIGN 7.4) */
    returnsSeq: p.bigint("number"),
    /** `returns_seq` at which the sale was found sold out; null while it is not */
    soldOutVersion: p.bigint("number").nullable(),
    everSoldOut: p.boolean(),
    createdAt: p.datetime(),
  }),
});

export const SaleShard = defineEntity({
  name: "SaleShard",
  tableName: "sale_shards",
  properties: (p) => ({
    saleId: p.text().primary(),
    shard: p.integer().primary(),
    /** units that this shard's Redis has taken in */
    quota: p.bigint("number"),
    /** units in its live orders */
    sold: p.bigint("number"),
    /** version and epoch of the definition that Redis was last told */
    deliveredVersion: p.integer(),
    deliveredEpoch: p.bigint("number"),
  }),
});

/** An order's id is its position: shard, epoch, seq, idx (protocol/order-id.ts). */
export const Order = defineEntity({
  name: "Order",
  tableName: "orders",
  properties: (p) => ({
    shard: p.integer().primary(),
    epoch: p.bigint("number").primary(),
    seq: p.bigint("number").primary(),
    idx: p.integer().primary(),
    saleId: p.text(),
    uid: p.text(),
    purchaseKey: p.text(),
    units: p.integer(),
    state: p.text(),
    /** why it was rejected */
    reason: p.text().nullable(),
    /** Redis's clock */
    reservedAtMs: p.bigint("number"),
    /** when it came into its state; null if it never changed */
    changedAt: p.datetime().nullable(),
    createdAt: p.datetime(),
  }),
});

/** Units for one shard. Stock that is dealt to several shards has the same id on each. */
export const Grant = defineEntity({
  name: "Grant",
  tableName: "grants",
  properties: (p) => ({
    saleId: p.text().primary(),
    id: p.text().primary(),
    shard: p.integer().primary(),
    units: p.bigint("number"),
    kind: p.text(),
    /** of a transfer: the shard that the units came from */
    fromShard: p.integer().nullable(),
    state: p.text(),
    /** the sale had been flagged sold out before this grant: gateways may still believe the flag for a moment */
    flagged: p.boolean(),
    /** of a returned unit: Redis may have been told, so the order cannot have it again */
    offered: p.boolean(),
    createdAt: p.datetime(),
  }),
});

/** Money that came in for an order, and what was decided about it. */
export const Payment = defineEntity({
  name: "Payment",
  tableName: "payments",
  properties: (p) => ({
    /** the payment service's own */
    id: p.text().primary(),
    saleId: p.text(),
    uid: p.text(),
    shard: p.integer(),
    epoch: p.bigint("number"),
    seq: p.bigint("number"),
    idx: p.integer(),
    amountMinor: p.bigint("number").nullable(),
    decision: p.text(),
    /** times that it was told */
    told: p.integer(),
    createdAt: p.datetime(),
  }),
});

export const DeadLetter = defineEntity({
  name: "DeadLetter",
  tableName: "dead_letters",
  properties: (p) => ({
    id: p.bigint("number").primary().autoincrement(),
    shard: p.integer(),
    streamSeq: p.bigint("number"),
    body: p.uint8array(),
    reason: p.text(),
    createdAt: p.datetime(),
  }),
});

export type SaleRow = InferEntity<typeof Sale>;

export const entities = [Shard, Sale, SaleShard, Order, Grant, Payment, DeadLetter];
