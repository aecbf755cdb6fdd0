import { Decision, Status } from "#lua/core/codes";
import { EntryKind } from "#lua/shard/entry";
import { packPurchase, purchaseField, unpackPurchase, type Purchase, type Reservation } from "#lua/stock/fields";
import type { ReserveAnswer, ReserveBatch, Reserved } from "#lua/stock/reserve";
import type { PurchaseStanding, StandingQuery, Standings } from "#lua/stock/standing";
import type { SaleData, Shard } from "./data.ts";
import { isSettled, latch, nextId } from "./latch.ts";

type Of<T> = Omit<T, "shard">;

/** Why nobody may buy at the moment, if nobody may. */
const refusalOf = (shard: Shard, sale: SaleData, outboxLimit: number): Decision | undefined => {
  const nowMs = shard.server.nowMs();
  if (sale.state === "closed" || nowMs >= sale.closesAtMs) return Decision.closed;
  if (nowMs < sale.opensAtMs) return Decision.notOpen;
  if (sale.state !== "open") return Decision.paused;
  if (shard.data.outbox.length >= outboxLimit) return Decision.busy;
  return sale.moves === 0 ? Decision.unstocked : undefined;
};

const repeatOf = (shard: Shard, reservation: Reservation): ReserveAnswer => {
  if (reservation.rejected) return { decision: Decision.rejected, reservation };
  const decision = isSettled(shard, reservation.epoch, reservation.seq) ? Decision.confirmed : Decision.reserved;
  return { decision, reservation: shard.rules.fieldEpoch ? reservation : { ...reservation, epoch: shard.data.epoch } };
};

const read = (packed: string): Purchase => {
  const purchase = unpackPurchase(packed);
  if (purchase === undefined) throw new Error("ERR reserve: not a packed purchase");
  return purchase;
};

/** `reserve.lua`: one batch of purchases of one sale, in order (DESIGN 4.3). */
export const reserve = (shard: Shard, { saleId, outboxLimit, purchases }: Of<ReserveBatch>): Reserved => {
  if (shard.server.isFull === true) return { status: Status.refused, by: "OOM" };
  const epoch = latch(shard);
  if (epoch === 0) return { status: Status.recovering };
  const sale = shard.data.sales.get(saleId);
  if (sale === undefined) return { status: Status.unknown };
  const { limit } = sale;
  const refusal = refusalOf(shard, sale, outboxLimit);
  const id = nextId(shard);
  const won: { readonly field: string; readonly purchase: Purchase; readonly reservation: Reservation }[] = [];
  let left = sale.left;

  const decide = (purchase: Purchase): ReserveAnswer => {
    const { uid, key, units } = purchase;
    const field = purchaseField(limit, uid, key);
    const held = sale.buyers.get(field);
    if (held !== undefined && (shard.rules.repeatFirst || left > 0)) return repeatOf(shard, held);
    const before = won.find((winner) => winner.field === field);
    if (before !== undefined) return { decision: Decision.reserved, reservation: before.reservation };
    if (units > limit || (limit === 1 && key !== "")) return { decision: Decision.badRequest };
    const own = won.reduce((sum, winner) => (winner.purchase.uid === uid ? sum + winner.purchase.units : sum), 0);
    if (limit > 1 && (sale.totals.get(uid) ?? 0) + own + units > limit) return { decision: Decision.limitReached };
    if (refusal !== undefined) return { decision: refusal };
    if (units > left) return { decision: Decision.dry };
    left -= units;
    const reservation = { epoch, seq: id?.seq ?? 0, index: won.length, units, rejected: false };
    won.push({ field, purchase, reservation });
    return { decision: Decision.won, reservation };
  };

  const decisions = purchases.map((packed) => decide(read(packed)));
  const opens = decisions.some(({ decision }) => decision === Decision.notOpen) ? { opensAtMs: sale.opensAtMs } : {};
  if (won.length === 0) return { status: Status.ok, position: undefined, left, decisions, ...opens };
  if (id === undefined) return { status: Status.recovering };

  const { data, journal, server } = shard;
  journal.begin();
  const packed = won.map(({ purchase }) => packPurchase(purchase)).join(" ");
  const entry = { kind: EntryKind.order, seq: id.seq, saleId, atMs: Math.floor(server.nowMs()), count: won.length, purchases: packed };
  journal.append(data.outbox, { epoch, entry });
  journal.set(data, "last", id);
  journal.set(sale, "left", left);
  for (const { field, purchase, reservation } of won) {
    journal.put(sale.buyers, field, reservation);
    if (limit > 1) journal.put(sale.totals, purchase.uid, (sale.totals.get(purchase.uid) ?? 0) + purchase.units);
  }
  return { status: Status.ok, position: id, left, decisions, ...opens };
};

/** `standing.lua` */
export const standing = (shard: Shard, { saleId, purchases }: Of<StandingQuery>): Standings => {
  if (latch(shard) === 0) return { status: Status.recovering };
  const sale = shard.data.sales.get(saleId);
  if (sale === undefined) return { status: Status.unknown };
  const standings = purchases.map(({ uid, key }): PurchaseStanding => {
    const held = sale.buyers.get(purchaseField(sale.limit, uid, key));
    if (held === undefined) return { state: "none" };
    const { decision, reservation = held } = repeatOf(shard, held);
    const state = decision === Decision.rejected ? "rejected" : decision === Decision.confirmed ? "confirmed" : "reserved";
    return { state, reservation };
  });
  return { status: Status.ok, standings };
};
