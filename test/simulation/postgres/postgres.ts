import type { SoldOutFacts, TransferFacts } from "#protocol/requests";
import { SaleState, type SaleRecord, type SoldOutFlag } from "#protocol/sale";
import type { Kernel } from "../kernel/kernel.ts";
import type { Life } from "../kernel/process.ts";
import type { Target } from "../kernel/wire.ts";
import {
  grantKey,
  purchaseKey,
  type GrantRow,
  type OrderRow,
  type OrderRowState,
  type PostgresRules,
  type SaleRow,
  type SaleShardRow,
  type ShardTableRow,
} from "./tables.ts";
import { Locks, Transaction, type TransactionServer } from "./transaction.ts";

/** The one store that loses nothing (DESIGN 1). It may be away, roll back, or commit and not say so. */
export class Postgres implements Target, TransactionServer {
  readonly name = "postgres";
  run = 1;
  isUp = true;
  readonly rules: PostgresRules;
  readonly shards: ShardTableRow[];
  readonly sales = new Map<string, SaleRow>();
  readonly saleShards: SaleShardRow[] = [];
  readonly orders: OrderRow[] = [];
  /** orders that bind, by sale, buyer and purchase key */
  readonly binding = new Map<string, OrderRow>();
  readonly grants = new Map<string, GrantRow>();
  /** told after every commit */
  onCommit: () => void = () => undefined;
  readonly #kernel: Kernel;
  readonly #locks = new Locks(this);
  /** open transactions, and whose they are */
  readonly #open = new Map<Transaction, Life | undefined>();

  constructor(kernel: Kernel, shards: number, rules: PostgresRules) {
    this.#kernel = kernel;
    this.rules = rules;
    this.shards = Array.from({ length: shards }, (_, shard) => ({
      shard,
      epoch: 0,
      applied: 0,
      attempt: "",
      mode: "rebuild",
      flagged: false,
      gap: null,
      wall: false,
      halted: null,
      draining: false,
    }));
  }

  get nowMs(): number {
    return this.#kernel.nowMs;
  }

  after(ms: number, work: () => void): void {
    this.#kernel.after(ms, work);
  }

  shardRow(shard: number): ShardTableRow {
    return this.shards[shard] as ShardTableRow;
  }

  saleShard(saleId: string, shard: number): SaleShardRow | undefined {
    return this.saleShards.find((row) => row.saleId === saleId && row.shard === shard);
  }

  begin(client?: Life): Transaction {
    const transaction = new Transaction(this, this.#locks);
    this.#open.set(transaction, client);
    return transaction;
  }

  /** A client died: its connections end. */
  disconnect(client: Life): void {
    for (const [transaction, owner] of this.#open) {
      if (owner !== client) continue;
      this.#open.delete(transaction);
      transaction.rollBack();
    }
  }

  committed(transaction: Transaction): void {
    this.#open.delete(transaction);
    this.onCommit();
  }

  /** kill -9 and a start: open transactions are rolled back, what was committed stands. */
  restart(downMs: number): void {
    this.isUp = false;
    this.run += 1;
    for (const transaction of this.#open.keys()) transaction.rollBack();
    this.#open.clear();
    this.#kernel.after(downMs, () => {
      this.isUp = true;
    });
  }

  bind(order: OrderRow): void {
    this.binding.set(purchaseKey(order.saleId, order.uid, order.key), order);
  }

  /** A sale and its opening stock, as `openSale` records them. */
  openSale(record: SaleRecord, units: readonly number[]): void {
    this.sales.set(record.id, {
      record: { ...record },
      totalUnits: record.totalUnits,
      returnsSeq: 0,
      soldOutVersion: null,
      everSoldOut: false,
      archived: false,
      closedAtMs: null,
    });
    record.shards.forEach((shard, i) => {
      this.saleShards.push({ saleId: record.id, shard, quota: 0, sold: 0, delivered: { version: 0, epoch: 0 }, droppedEpoch: null });
      const grant: GrantRow = {
        saleId: record.id,
        id: `opening${i}`,
        shard,
        units: units[i] ?? 0,
        kind: "opening",
        state: "sent",
        flagged: false,
        createdAtMs: this.nowMs,
      };
      if (grant.units > 0) this.grants.set(grantKey(record.id, grant.id), grant);
    });
  }

  /** `addUnits` of workers/sales: a grant, and the flag withdrawn, in one transaction. */
  addUnits(saleId: string, grantId: string, units: number, shard: number): void {
    const sale = this.sales.get(saleId);
    if (sale === undefined || this.grants.has(grantKey(saleId, grantId))) return;
    const transaction = this.begin();
    transaction.lock(sale, () => {
      const flagged = sale.everSoldOut;
      const grant: GrantRow = { saleId, id: grantId, shard, units, kind: "added", state: "sent", flagged, createdAtMs: this.nowMs };
      transaction.atCommit(() => {
        if (sale.closedAtMs !== null) return;
        this.grants.set(grantKey(saleId, grantId), grant);
        sale.totalUnits += units;
        if (this.rules.stockWithdraws) this.#withdrawFlag(sale);
      });
      transaction.commit();
    });
  }

  facts(saleId: string): SoldOutFacts {
    const sale = this.sales.get(saleId);
    if (sale === undefined) throw new Error(`no sale ${saleId}`);
    let sentGrants = 0;
    for (const grant of this.grants.values()) if (grant.saleId === saleId && grant.state === "sent") sentGrants += 1;
    const epochs = sale.record.shards.map((shard): [number, number] => [shard, this.shardRow(shard).epoch]);
    const full = this.saleShards.filter((row) => row.saleId === saleId && row.quota === row.sold).map(({ shard }) => shard);
    return { returnsSeq: sale.returnsSeq, sentGrants, soldOut: sale.soldOutVersion !== null, epochs, full };
  }

  /** workers/sales/transfers.ts: one moment of a sale's shards. */
  transferFacts(saleId: string): TransferFacts {
    return this.saleShards
      .filter((row) => row.saleId === saleId)
      .map(({ shard, sold }) => {
        const grants = [...this.grants.values()].filter((grant) => grant.saleId === saleId && grant.shard === shard);
        const sentUnits = grants.reduce((sum, { state, units }) => sum + (state === "sent" ? units : 0), 0);
        const last = grants.reduce<GrantRow | undefined>((a, b) => (a !== undefined && a.createdAtMs >= b.createdAtMs ? a : b), undefined);
        const received = last?.kind === "transfer" ? last : undefined;
        return {
          shard,
          soldUnits: sold,
          sentUnits,
          isDraining: this.shardRow(shard).draining,
          receivedUnits: received?.units ?? 0,
          receivedAgoMs: received === undefined ? null : Math.round(this.nowMs - received.createdAtMs),
        };
      });
  }

  setSoldOut(saleId: string, returnsSeq: number, done: (isSet: boolean) => void): void {
    const sale = this.sales.get(saleId);
    if (sale === undefined) throw new Error(`no sale ${saleId}`);
    const transaction = this.begin();
    transaction.lock(sale, () => {
      const isSet = !sale.archived && (!this.rules.flagConditional || sale.returnsSeq === returnsSeq);
      if (isSet)
        transaction.atCommit(() => {
          sale.soldOutVersion = sale.returnsSeq;
          sale.everSoldOut = true;
        });
      transaction.commit();
      done(isSet);
    });
  }

  flags(): readonly SoldOutFlag[] {
    const flags: SoldOutFlag[] = [];
    for (const [saleId, sale] of this.sales) if (sale.soldOutVersion !== null) flags.push({ saleId, version: sale.soldOutVersion });
    return flags;
  }

  /** The sale's record as workers tell it. */
  recordOf({ record, archived }: SaleRow): SaleRecord {
    return { ...record, state: archived ? SaleState.archived : record.state };
  }

  /** `changeSale` of workers/sales. */
  closeSale(saleId: string): void {
    const sale = this.sales.get(saleId);
    if (sale === undefined) throw new Error(`no sale ${saleId}`);
    const transaction = this.begin();
    transaction.lock(sale, () => {
      transaction.atCommit(() => {
        if (sale.closedAtMs !== null) return;
        sale.record.state = SaleState.closed;
        sale.record.version += 1;
        sale.closedAtMs = this.nowMs;
      });
      transaction.commit();
    });
  }

  /** The shop reports payments for all orders of a sale that there are. */
  payAll(saleId: string): void {
    for (const order of this.orders) if (order.saleId === saleId && order.state === "pending_payment") this.#change(order, "paid");
    this.onCommit();
  }

  #change(order: OrderRow, state: OrderRowState): void {
    order.past.push({ state: order.state, untilMs: this.nowMs });
    order.state = state;
  }

  /** `closing` of workers/orders/postgres.ts: a paid order gives its units back. */
  refund(order: OrderRow): void {
    const sale = this.sales.get(order.saleId);
    const row = this.saleShard(order.saleId, order.shard);
    if (sale === undefined || row === undefined) throw new Error(`no sale ${order.saleId}`);
    const { saleId, shard, epoch, seq, index, units } = order;
    const transaction = this.begin();
    transaction.lock(sale, () => {
      transaction.atCommit(() => {
        if (order.state !== "paid") return;
        this.#change(order, "refunded");
        const isDone = sale.archived && this.rules.refundArchived;
        if (isDone) row.sold -= units;
        const id = `r${shard}-${epoch}-${seq}-${index}`;
        const flagged = sale.everSoldOut;
        const state = isDone ? "done" : "sent";
        this.grants.set(grantKey(saleId, id), { saleId, id, shard, units, kind: "returned", state, flagged, createdAtMs: this.nowMs });
        this.#withdrawFlag(sale);
      });
      transaction.commit();
    });
  }

  #withdrawFlag(sale: SaleRow): void {
    sale.returnsSeq += 1;
    sale.soldOutVersion = null;
  }
}
