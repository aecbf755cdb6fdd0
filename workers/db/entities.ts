import { defineEntity, p, type InferEntity } from "@mikro-orm/core";
import { OrderState, PaymentDecision } from "#protocol/order";
import { RestoreMode } from "#protocol/row";
import { GrantKind, GrantState, StoredSaleState } from "./states.ts";

/** The tables of DESIGN section 9. The migrations make them; a test compares the two. */
export const Shard = defineEntity({
  name: "Shard",
  tableName: "shards",
  properties: {
    shard: p.integer().primary().autoincrement(false),
    epoch: p.bigint("number").default(0),
    /** seq of the last applied entry of `epoch` */
    applied: p.bigint("number").default(0),
    attempt: p.text().default(""),
    mode: p.enum(() => RestoreMode).default(RestoreMode.rebuild),
    /** its epoch began with free units of a sale that had been flagged sold out */
    flagged: p.boolean().default(false),
    gapAt: p.bigint("number").nullable(),
    gapStreamSeq: p.bigint("number").nullable(),
    wall: p.boolean().default(false),
    halted: p.text().nullable(),
    /** its units move to other shards, and it gets none */
    draining: p.boolean().default(false),
  },
});

export const Sale = defineEntity({
  name: "Sale",
  tableName: "sales",
  properties: {
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
    payWithinMs: p.bigint("number").default(0),
    state: p.enum(() => StoredSaleState),
    /** it has left Redis, or is about to (DESIGN 7.6) */
    archived: p.boolean().default(false),
    /** when it was closed by name; null if it was not, or by a version before */
    closedAt: p.datetime(6).nullable(),
    version: p.integer().default(1),
    /** raised by everything that frees a unit and by every new epoch of a shard of the sale (DESIGN 7.4) */
    returnsSeq: p.bigint("number").default(0),
    /** `returns_seq` at which the sale was found sold out; null while it is not */
    soldOutVersion: p.bigint("number").nullable(),
    everSoldOut: p.boolean().default(false),
    createdAt: p.datetime(6).defaultRaw("now()"),
    /** the shards that its units are dealt to, ascending; only when asked for */
    shards: p
      .array(Number)
      .formula(({ alias }) => `(select array_agg(ss.shard order by ss.shard) from sale_shards ss where ss.sale_id = ${alias}.id)`)
      .lazy(true, false)
      .persist(false)
      .default([]),
  },
});

export const SaleShard = defineEntity({
  name: "SaleShard",
  tableName: "sale_shards",
  properties: {
    sale: () => p.manyToOne(Sale).primary().joinColumn("sale_id").foreignKeyName("sale_shards_sale_id_fkey").updateRule("no action"),
    shard: () => p.manyToOne(Shard).primary().joinColumn("shard").foreignKeyName("sale_shards_shard_fkey").updateRule("no action"),
    /** units that this shard's Redis has taken in */
    quota: p.bigint("number").default(0),
    /** units in its live orders */
    sold: p.bigint("number").default(0),
    /** version and epoch of the definition that Redis last got */
    deliveredVersion: p.integer().default(0),
    deliveredEpoch: p.bigint("number").default(0),
    /** of an archived sale: the epoch in which Redis was told, 0 before; null of every other */
    droppedEpoch: p.bigint("number").nullable(),
    /** units in grants that Redis has not taken in, or Postgres not seen taken in; only when asked for */
    arriving: p
      .bigint("number")
      .formula(
        ({ alias }) =>
          `(select coalesce(sum(g.units), 0) from grants g where g.sale_id = ${alias}.sale_id and g.shard = ${alias}.shard and g.state = '${GrantState.sent}')`,
      )
      .lazy(true, false)
      .persist(false)
      .default(0),
  },
});

/** An order's id is its position: shard, epoch, seq, idx (protocol/order-id.ts). */
export const Order = defineEntity({
  name: "Order",
  tableName: "orders",
  properties: {
    shard: p.integer().primary(),
    epoch: p.bigint("number").primary(),
    seq: p.bigint("number").primary(),
    idx: p.integer().primary(),
    sale: () => p.manyToOne(Sale).joinColumn("sale_id").createForeignKeyConstraint(false),
    uid: p.text(),
    purchaseKey: p.text(),
    units: p.integer(),
    state: p.enum(() => OrderState),
    /** why it was rejected */
    reason: p.text().nullable(),
    /** Redis's clock */
    reservedAtMs: p.bigint("number"),
    /** when it came into its state; null if it never changed */
    changedAt: p.datetime(6).nullable(),
    /** when it was stored, by Postgres's clock: the time to pay counts from then */
    createdAt: p.datetime(6).defaultRaw("clock_timestamp()"),
    payments: () => p.oneToMany(Payment).mappedBy("order"),
  },
});

/** Units for one shard. Stock that is dealt to several shards has the same id on each. */
export const Grant = defineEntity({
  name: "Grant",
  tableName: "grants",
  properties: {
    saleId: p.text().primary(),
    id: p.text().primary(),
    shard: p.integer().primary(),
    units: p.bigint("number"),
    kind: p.enum(() => GrantKind),
    /** of a transfer: the shard that the units came from */
    fromShard: p.integer().nullable(),
    state: p.enum(() => GrantState).default(GrantState.sent),
    /** the sale had been flagged sold out before this grant: gateways may still believe the flag for a moment */
    flagged: p.boolean().default(false),
    /** of a returned unit: Redis may have it, so the order cannot have it again */
    offered: p.boolean().default(false),
    createdAt: p.datetime(6).defaultRaw("now()"),
  },
});

/** Money that came in for an order, and what was decided about it. */
const Payment = defineEntity({
  name: "Payment",
  tableName: "payments",
  properties: {
    /** the payment service's own */
    id: p.text().primary(),
    saleId: p.text(),
    uid: p.text(),
    order: () => p.manyToOne(Order).joinColumns("shard", "epoch", "seq", "idx").createForeignKeyConstraint(false),
    amountMinor: p.bigint("number").nullable(),
    decision: p.enum(() => PaymentDecision),
    /** times that the payment service reported it */
    told: p.integer().default(1),
    createdAt: p.datetime(6).defaultRaw("clock_timestamp()"),
  },
});

const DeadLetter = defineEntity({
  name: "DeadLetter",
  tableName: "dead_letters",
  properties: {
    id: p.bigint("number").primary().generated("identity"),
    shard: p.integer(),
    streamSeq: p.bigint("number"),
    body: p.uint8array(),
    reason: p.text(),
    createdAt: p.datetime(6).defaultRaw("now()"),
  },
});

export type SaleEntity = InferEntity<typeof Sale>;
export type GrantEntity = InferEntity<typeof Grant>;

export const entities = [Shard, Sale, SaleShard, Order, Grant, Payment, DeadLetter];
