import { Status } from "#lua/core/codes";
import { parseReservation } from "#lua/stock/fields";
import { parsePosition } from "#lua/core/position";
import type { StagedSale, SwapAnswer, SwapShard } from "#lua/shard/swap";
import type { RestoredSale } from "../../../workers/restore/restore-ports.ts";
import type { SaleData, Shard, StagedData } from "./data.ts";
import { beginEpoch, isFenced, outOfMemory, readOnly } from "./life.ts";

const keyOf = (attempt: string, saleId: string): string => `${attempt}:${saleId}`;

/** The staged keys of an attempt for one sale, made when the first is written. */
const stagedOf = ({ data, journal, server }: Shard, attempt: string, saleId: string): StagedData => {
  if (!server.isPrimary) throw readOnly();
  if (server.isFull === true) throw outOfMemory();
  journal.begin();
  let staged = data.staged.get(keyOf(attempt, saleId));
  if (staged === undefined) {
    staged = { sale: undefined, buyers: new Map(), totals: new Map(), grants: new Set() };
    journal.put(data.staged, keyOf(attempt, saleId), staged);
  }
  return staged;
};

/** HSET on the staged buyers' hash. */
export const stageBuyers = (shard: Shard, attempt: string, saleId: string, fields: readonly (readonly [string, string])[]): void => {
  if (fields.length === 0) return;
  const staged = stagedOf(shard, attempt, saleId);
  for (const [field, text] of fields) {
    const reservation = parseReservation(text);
    if (reservation === undefined) shard.journal.put(staged.totals, field, Number(text));
    else shard.journal.put(staged.buyers, field, reservation);
  }
};

/** SADD on the staged grants. */
export const stageGrants = (shard: Shard, attempt: string, saleId: string, grantIds: readonly string[]): void => {
  if (grantIds.length === 0) return;
  const staged = stagedOf(shard, attempt, saleId);
  for (const id of grantIds) shard.journal.add(staged.grants, id);
};

/** HSET on the staged sale's hash. */
export const stageSale = (shard: Shard, attempt: string, sale: RestoredSale, moves: number, movedAt: string): void => {
  const staged = stagedOf(shard, attempt, sale.saleId);
  const { version, left, limit, opensAtMs, closesAtMs } = sale;
  const state = sale.state as SaleData["state"];
  shard.journal.set(staged, "sale", {
    version,
    state,
    left,
    limit,
    opensAtMs,
    closesAtMs,
    moves,
    movedAt: parsePosition(movedAt) ?? { epoch: 0, seq: 0 },
  });
};

const isComplete = ({ data, rules }: Shard, attempt: string, { saleId, buyers, grants }: StagedSale): boolean => {
  const staged = data.staged.get(keyOf(attempt, saleId));
  if (!rules.swapCounts) return true;
  return staged?.sale !== undefined && staged.buyers.size + staged.totals.size === buyers && staged.grants.size === grants;
};

/** `swap.lua`: the staged keys take the place of the live ones. */
export const swapShard = (shard: Shard, request: Omit<SwapShard, "shard">): SwapAnswer => {
  const { data, journal, rules } = shard;
  const { attempt, replicationId, toEpoch, sales, dropped } = request;
  if (!isFenced(shard, attempt, replicationId)) return { status: Status.overtaken };
  if (data.epoch === toEpoch) return { status: Status.duplicate };
  if (rules.swapEpoch && data.epoch > toEpoch) return { status: Status.overtaken };
  const named = new Set([...sales.map((sale) => sale.saleId), ...dropped]);
  if (!sales.every((sale) => isComplete(shard, attempt, sale))) return { status: Status.incomplete };
  for (const saleId of data.sales.keys()) if (!named.has(saleId)) return { status: Status.incomplete };
  journal.begin();
  for (const saleId of dropped) journal.remove(data.sales, saleId);
  for (const { saleId } of sales) {
    const staged = data.staged.get(keyOf(attempt, saleId));
    if (staged?.sale !== undefined) {
      const { buyers, totals, grants } = staged;
      journal.put(data.sales, saleId, { ...staged.sale, buyers: new Map(buyers), totals: new Map(totals), grants: new Set(grants) });
    }
    journal.remove(data.staged, keyOf(attempt, saleId));
  }
  beginEpoch(shard, toEpoch);
  return { status: Status.ok };
};
