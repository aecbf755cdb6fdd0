import { EntryKind, formatPosition, formatReservation, saleKeys, shardKeys, stagedKeys, type Entry, type SaleKeys } from "#lua";
import type { SaleData, ShardData, StagedData } from "../simulation/redis/index.ts";
import { hashOf, setText, streamText, stringText, type KeySpace, type Stored } from "./key-space.ts";

/** How long a rebuild's staged keys live (workers/restore/redis.ts). */
export const STAGED_MS = 600_000;

const entryText = (epoch: number, entry: Entry): string => {
  const common = `${epoch}-${entry.seq} k ${entry.kind} s ${entry.saleId} t ${entry.atMs}`;
  if (entry.kind === EntryKind.order) return `${common} n ${entry.count} b ${entry.purchases}`;
  if (entry.kind === EntryKind.granted) return `${common} g ${entry.grantId} u ${entry.units}`;
  return `${common} r ${entry.receiver} u ${entry.units}`;
};

const saleFields = (sale: Omit<SaleData, "buyers" | "totals" | "grants">): [string, string | number][] => [
  ["version", sale.version],
  ["state", sale.state],
  ["limit", sale.limit],
  ["opens_at", sale.opensAtMs],
  ["closes_at", sale.closesAtMs],
  ["left", sale.left],
  ["moves", sale.moves],
  ["moved_at", formatPosition(sale.movedAt)],
];

/** The keys that a shard's data is, as the scripts spell them. `nowMs`: of the model's clock. */
export const shardSpace = (data: ShardData, shard: number, nowMs: number): KeySpace => {
  const space = new Map<string, Stored>();
  const keys = shardKeys(shard);
  const expiring = (key: string, text: string, untilMs: number): void => {
    if (untilMs > nowMs) space.set(key, { text: stringText(text), expiresInMs: untilMs - nowMs });
  };
  if (data.epoch > 0) space.set(keys.epoch, { text: stringText(String(data.epoch)) });
  if (data.open !== undefined)
    space.set(keys.open, { text: stringText(`${data.open.epoch} ${data.open.replicationId}`), expiresAtMs: data.open.untilMs });
  if (data.lease !== undefined) expiring(keys.lease, data.lease.token, data.lease.untilMs);
  if (data.attempt !== "") space.set(keys.attempt, { text: stringText(data.attempt) });
  if (data.closed !== undefined) {
    const { replicationId, hasReplicas } = data.closed;
    space.set(keys.server, { text: stringText(`${replicationId} ${hasReplicas ? 1 : 0}`) });
  }
  if (data.applied.epoch > 0) space.set(keys.applied, { text: stringText(formatPosition(data.applied)) });
  if (data.last !== undefined) {
    const entries = data.outbox.map(({ epoch, entry }) => entryText(epoch, entry));
    space.set(keys.outbox, { text: streamText(formatPosition(data.last), entries) });
  }
  if (data.archived.size > 0) space.set(keys.archived, { text: setText(data.archived) });
  if (data.sales.size > 0) space.set(keys.sales, { text: setText(data.sales.keys()) });

  const part = (
    at: SaleKeys,
    { buyers, totals, grants }: Pick<StagedData, "buyers" | "totals" | "grants">,
    expiry: Omit<Stored, "text">,
  ): void => {
    const fields: [string, string | number][] = [];
    for (const [field, reservation] of buyers) fields.push([field, formatReservation(reservation)]);
    for (const [uid, units] of totals) fields.push([uid, units]);
    if (fields.length > 0) space.set(at.buyers, { text: hashOf(fields), ...expiry });
    if (grants.size > 0) space.set(at.grants, { text: setText(grants), ...expiry });
  };
  for (const [id, sale] of data.sales) {
    const at = saleKeys(shard, id);
    space.set(at.sale, { text: hashOf(saleFields(sale)) });
    part(at, sale, {});
  }
  for (const [name, staged] of data.staged) {
    const colon = name.indexOf(":");
    const at = stagedKeys(shard, name.slice(0, colon), name.slice(colon + 1));
    const expiry = { expiresInMs: STAGED_MS };
    if (staged.sale !== undefined) space.set(at.sale, { text: hashOf(saleFields(staged.sale)), ...expiry });
    part(at, staged, expiry);
  }
  return space;
};
