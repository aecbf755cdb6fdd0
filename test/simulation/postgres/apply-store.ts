import {
  GrantFate,
  WithdrawFate,
  type ApplyStore,
  type ApplyTransaction,
  type PlannedGrant,
  type PlannedOrder,
  type PlannedWithdrawal,
  type RejectedOrder,
} from "../../../workers/apply/apply-store.ts";
import { transferGrantId } from "../../../workers/apply/transfer-grant.ts";
import { op, type Wire } from "../kernel/wire.ts";
import type { Postgres } from "./postgres.ts";
import { grantKey, purchaseKey, type GrantRow, type OrderRow, type OrderRowState, type SaleRow } from "./tables.ts";
import { ConnectionLost, type Transaction } from "./transaction.ts";

const BEGIN = op("pg begin");
const INSERT = op("pg insert orders");
const SELL = op("pg sell");
const GRANTS = op("pg take grants");
const ADVANCE = op("pg advance");
const GAP = op("pg gap");
const MARK = op("pg begin epoch");
const OTHER = op("pg statement");
const COMMIT = op("pg commit");
const ROLLBACK = op("pg rollback");

const isFlaggable = (sale: SaleRow | undefined): boolean => sale?.everSoldOut === true && !sale.archived;

/** The statements of one apply, each a round trip. */
class Applying implements ApplyTransaction {
  readonly #postgres: Postgres;
  readonly #wire: Wire;
  readonly #transaction: Transaction;
  readonly #shard: number;
  readonly #inserted: OrderRow[] = [];

  constructor(postgres: Postgres, wire: Wire, transaction: Transaction, shard: number) {
    this.#postgres = postgres;
    this.#wire = wire;
    this.#transaction = transaction;
    this.#shard = shard;
  }

  insertOrders(epoch: number, orders: readonly PlannedOrder[]): Promise<readonly PlannedOrder[]> {
    return this.#statement(INSERT, () => orders.filter((order) => !this.#insert(epoch, order, "pending_payment", null)));
  }

  insertRejected(epoch: number, orders: readonly PlannedOrder[], reason: string): Promise<void> {
    return this.#statement(OTHER, () => {
      for (const order of orders) this.#insert(epoch, order, "rejected", reason);
    });
  }

  rejectInserted(epoch: number, orders: readonly PlannedOrder[], reason: string): Promise<void> {
    return this.#statement(OTHER, () => {
      for (const row of this.#inserted) {
        if (row.epoch !== epoch || !orders.some((order) => order.seq === row.seq && order.index === row.index)) continue;
        row.state = "rejected";
        row.reason = reason;
      }
    });
  }

  sell(units: ReadonlyMap<string, number>): Promise<readonly string[]> {
    return this.#statement(SELL, () => {
      const refused: string[] = [];
      for (const [saleId, count] of units) {
        const row = this.#postgres.saleShard(saleId, this.#shard);
        const seen = row === undefined ? undefined : this.#transaction.view(row);
        if (row === undefined || seen === undefined || (this.#postgres.rules.guard && seen.sold + count > seen.quota)) refused.push(saleId);
        else this.#transaction.edit(row).sold += count;
      }
      return refused;
    });
  }

  roomOf(saleId: string): Promise<number | undefined> {
    return this.#statement(OTHER, () => {
      const row = this.#postgres.saleShard(saleId, this.#shard);
      if (row === undefined) return undefined;
      const { quota, sold } = this.#transaction.view(row);
      return quota - sold;
    });
  }

  takeGrants(grants: readonly PlannedGrant[]): Promise<readonly GrantFate[]> {
    return this.#statement(GRANTS, () => grants.map((grant) => this.#take(grant)));
  }

  withdraw(epoch: number, { saleId, seq, receiver, units }: PlannedWithdrawal): Promise<WithdrawFate> {
    return this.#statement(OTHER, () => {
      const row = this.#postgres.saleShard(saleId, this.#shard);
      if (row === undefined) return WithdrawFate.unknown;
      const { quota, sold } = this.#transaction.view(row);
      if (this.#postgres.rules.guard && sold > quota - units) return WithdrawFate.overdrawn;
      this.#transaction.edit(row).quota -= units;
      const id = transferGrantId(this.#shard, { epoch, seq });
      const shard = this.#postgres.saleShard(saleId, receiver)?.shard ?? this.#shard;
      const grant: GrantRow = {
        saleId,
        id,
        shard,
        units,
        kind: "transfer",
        state: "sent",
        flagged: false,
        createdAtMs: this.#postgres.nowMs,
      };
      const send = (): void => void this.#postgres.grants.set(grantKey(saleId, id), grant);
      if (this.#postgres.rules.withdrawAtOnce) this.#transaction.atCommit(send);
      else send();
      return WithdrawFate.sent;
    });
  }

  advance(applied: number, wall: boolean): Promise<void> {
    return this.#statement(ADVANCE, () => {
      Object.assign(this.#row(), { applied, wall, gap: null, halted: null });
    });
  }

  recordGap(at: number, streamSeq: number): Promise<void> {
    return this.#statement(GAP, () => {
      if (this.#postgres.rules.recordGap) this.#row().gap = { at, streamSeq };
    });
  }

  beginEpoch({ from, applied, attempt, mode }: Parameters<ApplyTransaction["beginEpoch"]>[0]): Promise<boolean> {
    const postgres = this.#postgres;
    return this.#wire.hold<boolean>(MARK, (exchange) => {
      this.#transaction.touch();
      this.#transaction.whenLost(() => exchange.fail(new ConnectionLost("terminating connection")));
      const row = this.#row();
      if (postgres.rules.beginConditional && (row.epoch !== from || row.applied !== applied)) {
        exchange.answer(false);
        return;
      }
      Object.assign(row, { epoch: row.epoch + 1, applied: 0, attempt, mode, gap: null, wall: false });
      const sales = postgres.saleShards.flatMap(({ saleId, shard }) => (shard === this.#shard ? (postgres.sales.get(saleId) ?? []) : []));
      this.#withdraw(sales, () => {
        row.flagged = postgres.saleShards.some(
          ({ saleId, shard, quota, sold }) => shard === this.#shard && quota > sold && isFlaggable(postgres.sales.get(saleId)),
        );
        exchange.answer(true);
      });
    });
  }

  park(): Promise<boolean> {
    return this.#statement(OTHER, () => true);
  }

  halt(reason: string): Promise<void> {
    return this.#statement(OTHER, () => {
      this.#row().halted = reason;
    });
  }

  rejectedOf(epoch: number): Promise<readonly RejectedOrder[]> {
    return this.#statement(OTHER, () =>
      [...this.#postgres.orders, ...this.#inserted]
        .filter((order) => order.shard === this.#shard && order.epoch === epoch && order.state === "rejected")
        .map(({ seq, index, reason }) => ({ seq, index, reason: reason ?? "" })),
    );
  }

  #row() {
    return this.#transaction.edit(this.#postgres.shardRow(this.#shard));
  }

  #statement<T>(kind: typeof OTHER, work: () => T): Promise<T> {
    return this.#wire.call(kind, () => {
      this.#transaction.touch();
      return work();
    });
  }

  /** Row locks of the sales, one after the other in the order of their ids; they change at the commit. */
  #withdraw(sales: readonly SaleRow[], done: () => void): void {
    const [sale, ...rest] = sales;
    if (sale === undefined) {
      done();
      return;
    }
    this.#transaction.lock(sale, () => {
      this.#transaction.atCommit(() => {
        if (!this.#postgres.rules.epochWithdraws || sale.archived) return;
        sale.returnsSeq += 1;
        sale.soldOutVersion = null;
      });
      this.#withdraw(rest, done);
    });
  }

  #insert(epoch: number, order: PlannedOrder, state: OrderRowState, reason: string | null): boolean {
    const { saleId, uid, key, units, seq, index } = order;
    const isTaken =
      this.#postgres.binding.has(purchaseKey(saleId, uid, key)) ||
      this.#inserted.some((row) => row.state !== "rejected" && row.saleId === saleId && row.uid === uid && row.key === key);
    if (state !== "rejected" && isTaken && this.#postgres.rules.uniqueKey) return false;
    const row: OrderRow = { saleId, uid, key, shard: this.#shard, epoch, seq, index, units, state, reason, past: [] };
    this.#inserted.push(row);
    this.#transaction.atCommit(() => {
      this.#postgres.orders.push(row);
      if (row.state !== "rejected") this.#postgres.bind(row);
    });
    return true;
  }

  #take({ saleId, grantId, units }: PlannedGrant): GrantFate {
    const grant = this.#postgres.grants.get(grantKey(saleId, grantId));
    if (grant === undefined || grant.units !== units || grant.shard !== this.#shard) return GrantFate.unknown;
    if (this.#postgres.rules.grantOnce && this.#transaction.view(grant).state === "done") return GrantFate.doneBefore;
    this.#transaction.edit(grant).state = "done";
    const row = this.#postgres.saleShard(saleId, this.#shard);
    if (row === undefined) return GrantFate.unknown;
    const edited = this.#transaction.edit(row);
    if (grant.kind === "returned") edited.sold -= units;
    else edited.quota += units;
    return GrantFate.taken;
  }
}

/** One worker's way to the shards' history. */
export const applyStoreOf = (postgres: Postgres, wire: Wire): ApplyStore => ({
  transaction: async (shard, work) => {
    const transaction = postgres.begin(wire.life);
    const row = postgres.shardRow(shard);
    try {
      await wire.hold<true>(BEGIN, (exchange) => {
        transaction.touch();
        transaction.whenLost(() => exchange.fail(new ConnectionLost("terminating connection")));
        transaction.lock(row, () => exchange.answer(true));
      });
      const value = await work({ ...transaction.view(row) }, new Applying(postgres, wire, transaction, shard));
      await wire.call(COMMIT, () => transaction.commit());
      return value;
    } catch (error) {
      wire.post(ROLLBACK, () => transaction.rollBack());
      throw error;
    }
  },
});
