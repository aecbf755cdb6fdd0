import type { ClosedServer } from "#lua/shard/close";
import type { Reservation } from "#lua/stock/fields";
import type { Position } from "#lua/core/position";
import type { OutboxEntry } from "../../../coordinator/shards/relay/relay-ports.ts";
import { Journal } from "./journal.ts";

/** The server as a script sees it. */
export interface Server {
  readonly replicationId: string;
  readonly isPrimary: boolean;
  /** replicas may have its keys: its backlog is there */
  readonly hasReplicas: boolean;
  /** `maxmemory` is reached: what takes memory is refused before it begins */
  readonly isFull?: boolean;
  /** the server's own wall clock: expiry and the sale's window are judged by it */
  nowMs(): number;
}

/** `{sN}:sale:<id>`, `{sN}:buyers:<id>` and `{sN}:grants:<id>`. */
export interface SaleData {
  version: number;
  state: "open" | "paused" | "closed";
  left: number;
  readonly limit: number;
  opensAtMs: number;
  closesAtMs: number;
  moves: number;
  movedAt: Position;
  /** purchase field -> reservation */
  buyers: Map<string, Reservation>;
  /** uid -> units held; only where the limit is above one */
  totals: Map<string, number>;
  grants: Set<string>;
}

/** What a rebuild has written so far of one sale, under the name of its attempt. */
export interface StagedData {
  sale: Omit<SaleData, "buyers" | "totals" | "grants"> | undefined;
  readonly buyers: Map<string, Reservation>;
  readonly totals: Map<string, number>;
  readonly grants: Set<string>;
}

/** The keys of one shard. */
export interface ShardData {
  /** 0 = no key */
  epoch: number;
  open: { readonly epoch: number; readonly replicationId: string; readonly untilMs: number } | undefined;
  attempt: string;
  /** the server that this attempt closed */
  closed: ClosedServer | undefined;
  lease: { readonly token: string; readonly untilMs: number } | undefined;
  outbox: OutboxEntry[];
  /** last id ever given in the outbox; undefined = no stream */
  last: Position | undefined;
  applied: Position;
  /** by sale id */
  readonly sales: Map<string, SaleData>;
  /** ids of those that were archived in this epoch */
  archived: Set<string>;
  /** by attempt and sale id */
  readonly staged: Map<string, StagedData>;
}

/** One shard on one server: its keys, and the way back. */
export interface Shard {
  readonly data: ShardData;
  readonly journal: Journal;
  readonly server: Server;
  readonly rules: RedisRules;
}

/** What the scripts check. A faulty twin is the same model with one of these off. */
export interface RedisRules {
  /** an existing reservation answers before the stock is looked at */
  readonly repeatFirst: boolean;
  /** `open` runs out unless renewed */
  readonly openExpires: boolean;
  /** 0: `open` ends when its giver said; else so long after it came */
  readonly openLastsMs: number;
  /** the latch names the server's replication id */
  readonly latchReplid: boolean;
  /** the latch is looked at by grant, withdraw and sale too */
  readonly latchStock: boolean;
  /** close deletes `open` */
  readonly closeDeletes: boolean;
  /** close writes the attempt's nonce; keep, swap and open want it */
  readonly attempt: boolean;
  /** keep, swap and open work only on the server that was closed */
  readonly fenceReplid: boolean;
  /** keep wants the last id and the epoch that the close saw */
  readonly keepLast: boolean;
  /** swap only raises the epoch */
  readonly swapEpoch: boolean;
  /** swap wants every staged key, counted */
  readonly swapCounts: boolean;
  /** keep and swap empty the outbox and number it from the new epoch on */
  readonly emptyOutbox: boolean;
  /** renew wants the epoch and the attempt that the caller read in Postgres */
  readonly renewRow: boolean;
  /** settle is of one epoch */
  readonly settleEpoch: boolean;
  /** a reservation holds the epoch of its order id */
  readonly fieldEpoch: boolean;
  /** a grant id is taken in once */
  readonly grantOnce: boolean;
  /** grant wants the epoch that the caller believes in */
  readonly grantEpoch: boolean;
  /** a definition of a sale that was archived in this epoch is refused */
  readonly archivedStays: boolean;
  /** an archived sale goes only when it has no entry in the outbox */
  readonly archiveOutbox: boolean;
  /** keep takes archived sales out */
  readonly keepArchives: boolean;
  /** units of a closed sale are not withdrawn */
  readonly withdrawClosed: boolean;
}

export const REDIS_RULES: RedisRules = Object.freeze({
  repeatFirst: true,
  openExpires: true,
  openLastsMs: 0,
  latchReplid: true,
  latchStock: true,
  closeDeletes: true,
  attempt: true,
  fenceReplid: true,
  keepLast: true,
  swapEpoch: true,
  swapCounts: true,
  emptyOutbox: true,
  renewRow: true,
  settleEpoch: true,
  fieldEpoch: true,
  grantOnce: true,
  grantEpoch: true,
  archivedStays: true,
  archiveOutbox: true,
  keepArchives: true,
  withdrawClosed: true,
});

export const NO_POSITION: Position = Object.freeze({ epoch: 0, seq: 0 });

export const emptyShard = (): ShardData => ({
  epoch: 0,
  open: undefined,
  attempt: "",
  closed: undefined,
  lease: undefined,
  outbox: [],
  last: undefined,
  applied: NO_POSITION,
  sales: new Map(),
  archived: new Set(),
  staged: new Map(),
});

const copySale = (sale: SaleData): SaleData => ({
  ...sale,
  buyers: new Map(sale.buyers),
  totals: new Map(sale.totals),
  grants: new Set(sale.grants),
});

const copyStaged = (staged: StagedData): StagedData => ({
  sale: staged.sale,
  buyers: new Map(staged.buyers),
  totals: new Map(staged.totals),
  grants: new Set(staged.grants),
});

/** A replica's keys. */
export const copyShard = (data: ShardData): ShardData => ({
  ...data,
  outbox: [...data.outbox],
  sales: new Map([...data.sales].map(([id, sale]) => [id, copySale(sale)])),
  archived: new Set(data.archived),
  staged: new Map([...data.staged].map(([key, staged]) => [key, copyStaged(staged)])),
});
