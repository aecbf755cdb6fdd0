import { InvariantViolation, Invariant } from "#lua/core/invariant";
import { Status } from "#lua/core/codes";
import { EntryKind } from "#lua/shard/entry";
import type { ArchiveSale, ArchiveSaleAnswer } from "#lua/stock/archive";
import type { Grant, GrantAnswer } from "#lua/stock/grant";
import type { DefineSale, DefineSaleAnswer } from "#lua/stock/sale";
import type { Settle, SettleAnswer } from "#lua/shard/settle";
import type { Stock } from "#lua/stock/stock";
import type { Withdraw, WithdrawAnswer } from "#lua/stock/withdraw";
import { NO_POSITION, type Shard } from "./data.ts";
import { outOfMemory, readOnly } from "./life.ts";
import { isSettled, lastId, latch, nextId, settledUpTo, stockLatch } from "./latch.ts";

type Of<T> = Omit<T, "shard">;

/** `sale.lua`: a definition, never stock. */
export const defineSale = (shard: Shard, request: Of<DefineSale>): DefineSaleAnswer => {
  const { data, journal } = shard;
  const epoch = stockLatch(shard);
  if (epoch === 0) return { status: Status.recovering };
  if (epoch !== request.epoch) return { status: Status.foreign };
  const { saleId, version, state, limit, opensAtMs, closesAtMs } = request;
  if (shard.rules.archivedStays && data.archived.has(saleId)) return { status: Status.stale };
  const held = data.sales.get(saleId);
  if (held !== undefined && held.version >= version) return { status: Status.stale };
  if (held !== undefined && held.limit !== limit) throw new Error("ERR sale: the limit of a sale cannot change");
  if (held?.state === "closed" && state !== "closed")
    throw new InvariantViolation(Invariant.saleState, saleId, `a closed sale would be ${state}`);
  journal.begin();
  if (held === undefined) {
    const stock = { left: 0, moves: 0, movedAt: NO_POSITION, buyers: new Map(), totals: new Map(), grants: new Set<string>() };
    journal.put(data.sales, saleId, { version, state, limit, opensAtMs, closesAtMs, ...stock });
    return { status: Status.ok };
  }
  journal.set(held, "version", version);
  journal.set(held, "state", state);
  journal.set(held, "opensAtMs", opensAtMs);
  journal.set(held, "closesAtMs", closesAtMs);
  return { status: Status.ok };
};

/** `grant.lua`: units that Postgres has recorded for this shard, once per grant id. */
export const grant = (shard: Shard, request: Of<Grant>): GrantAnswer => {
  const { data, journal, rules, server } = shard;
  if (server.isFull === true) throw outOfMemory();
  const epoch = stockLatch(shard);
  if (epoch === 0) return { status: Status.recovering };
  if (rules.grantEpoch && epoch !== request.epoch) return { status: Status.foreign };
  const { saleId, grantId, units } = request;
  const sale = data.sales.get(saleId);
  if (sale === undefined) return { status: Status.unknown };
  if (rules.grantOnce && sale.grants.has(grantId)) return { status: Status.duplicate };
  const position = nextId(shard);
  if (position === undefined) return { status: Status.recovering };
  journal.begin();
  const atMs = Math.floor(server.nowMs());
  journal.append(data.outbox, { epoch, entry: { kind: EntryKind.granted, seq: position.seq, saleId, atMs, grantId, units } });
  journal.set(data, "last", position);
  journal.set(sale, "left", sale.left + units);
  journal.set(sale, "moves", sale.moves + 1);
  journal.set(sale, "movedAt", position);
  journal.add(sale.grants, grantId);
  return { status: Status.ok, position };
};

/** `withdraw.lua`: free units leave for another shard; all that are left where fewer are. */
export const withdraw = (shard: Shard, request: Of<Withdraw>): WithdrawAnswer => {
  const { data, journal, rules, server } = shard;
  const epoch = stockLatch(shard);
  if (epoch === 0) return { status: Status.recovering };
  if (epoch !== request.epoch) return { status: Status.foreign };
  const { saleId, receiver, moves } = request;
  const sale = data.sales.get(saleId);
  if (sale === undefined) return { status: Status.unknown };
  if (sale.moves !== moves) return { status: Status.stale };
  if (rules.withdrawClosed && sale.state === "closed") return { status: Status.closed };
  if (sale.left < 1) return { status: Status.dry };
  const units = Math.min(request.units, sale.left);
  const position = nextId(shard);
  if (position === undefined) return { status: Status.recovering };
  journal.begin();
  const atMs = Math.floor(server.nowMs());
  journal.append(data.outbox, { epoch, entry: { kind: EntryKind.withdrawn, seq: position.seq, saleId, atMs, receiver, units } });
  journal.set(data, "last", position);
  journal.set(sale, "left", sale.left - units);
  journal.set(sale, "moves", sale.moves + 1);
  journal.set(sale, "movedAt", position);
  return { status: Status.ok, position, units };
};

/** Entries of the outbox that `archive.lua` looks through at most. */
const MOST_ENTRIES = 64;

/** `archive.lua`: what is archived leaves. */
export const archiveSale = (shard: Shard, { saleId, epoch: wanted }: Of<ArchiveSale>): ArchiveSaleAnswer => {
  const { data, journal, rules } = shard;
  const epoch = stockLatch(shard);
  if (epoch === 0) return { status: Status.recovering };
  if (epoch !== wanted) return { status: Status.foreign };
  const sale = data.sales.get(saleId);
  if (sale === undefined) return { status: Status.ok };
  if (sale.state !== "closed") throw new InvariantViolation(Invariant.saleState, saleId, `an archived sale is ${sale.state}`);
  const isPending = data.outbox.length > MOST_ENTRIES || data.outbox.some(({ entry }) => entry.saleId === saleId);
  if (rules.archiveOutbox && isPending) return { status: Status.pending };
  journal.begin();
  journal.remove(data.sales, saleId);
  journal.add(data.archived, saleId);
  return { status: Status.ok };
};

/** `settle.lua`: Postgres has applied up to here. */
export const settle = (shard: Shard, { epoch, applied }: Of<Settle>): SettleAnswer => {
  const { data, journal, rules, server } = shard;
  if (!server.isPrimary) throw readOnly();
  if (rules.settleEpoch ? data.epoch !== epoch : data.epoch === 0) return { status: Status.foreign };
  if (applied <= settledUpTo(shard)) return { status: Status.stale };
  const last = lastId(shard);
  if ((last.epoch !== data.epoch || last.seq < applied) && latch(shard) !== 0)
    throw new InvariantViolation(Invariant.settled, "", `${epoch}-${applied} is applied, and the open shard made no such entry`);
  journal.begin();
  journal.set(data, "applied", { epoch: data.epoch, seq: applied });
  const kept = data.outbox.filter((item) => item.epoch > data.epoch || (item.epoch === data.epoch && item.entry.seq > applied));
  if (kept.length < data.outbox.length) journal.set(data, "outbox", kept);
  return { status: Status.ok };
};

/** `stock.lua` */
export const stock = (shard: Shard, saleId: string): Stock => {
  const epoch = latch(shard);
  if (epoch === 0) return { status: Status.recovering };
  const sale = shard.data.sales.get(saleId);
  if (sale === undefined) return { status: Status.unknown };
  const { left, moves, movedAt, state, version, limit, opensAtMs, closesAtMs, buyers, totals } = sale;
  return {
    status: Status.ok,
    epoch,
    left,
    moves,
    movesApplied: isSettled(shard, movedAt.epoch, movedAt.seq),
    state,
    version,
    limit,
    opensAtMs,
    closesAtMs,
    buyers: buyers.size + totals.size,
  };
};
