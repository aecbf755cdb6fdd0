import type { CloseShard, ShardClosed } from "#lua/shard/close";
import { Status } from "#lua/core/codes";
import type { KeepAnswer, KeepShard } from "#lua/shard/keep";
import type { LeaseAnswer } from "#lua/shard/lease";
import type { OpenAnswer, OpenShard } from "#lua/shard/open";
import { formatPosition } from "#lua/core/position";
import type { RenewAnswer, RenewShard } from "#lua/shard/renew";
import type { ShardState } from "#lua/shard/shard-state";
import type { Shard } from "./data.ts";
import { lastId, latch } from "./latch.ts";

type Of<T> = Omit<T, "shard">;

const leaseHolder = ({ data, server }: Shard): string =>
  data.lease !== undefined && data.lease.untilMs > server.nowMs() ? data.lease.token : "";

/** What a replica answers to a script that writes. */
export const readOnly = (): Error => new Error("READONLY You can't write against a read only replica.");
export const outOfMemory = (): Error => new Error("OOM command not allowed when used memory > 'maxmemory'.");

/** `lease.lua` */
export const acquireLease = (shard: Shard, token: string, leaseMs: number): LeaseAnswer => {
  const { data, journal, server } = shard;
  if (!server.isPrimary) throw readOnly();
  const holder = leaseHolder(shard);
  if (holder !== "" && holder !== token) return { status: Status.notHolder };
  journal.begin();
  journal.set(data, "lease", { token, untilMs: server.nowMs() + leaseMs });
  return { status: Status.ok };
};

/** `release.lua` */
export const releaseLease = (shard: Shard, token: string): LeaseAnswer => {
  const { data, journal, server } = shard;
  if (!server.isPrimary) throw readOnly();
  if (leaseHolder(shard) !== token) return { status: Status.notHolder };
  journal.begin();
  journal.set(data, "lease", undefined);
  return { status: Status.ok };
};

const permissionEnd = ({ server, rules }: Shard, untilMs: number): number =>
  rules.openLastsMs === 0 ? untilMs : server.nowMs() + rules.openLastsMs;

/** `renew.lua` */
export const renew = (shard: Shard, { token, leaseMs, untilMs, epoch, attempt }: Of<RenewShard>): RenewAnswer => {
  const { data, journal, server, rules } = shard;
  if (!server.isPrimary) return { status: Status.recovering };
  if (leaseHolder(shard) !== token) return { status: Status.notHolder };
  journal.begin();
  journal.set(data, "lease", { token, untilMs: server.nowMs() + leaseMs });
  const open = latch(shard);
  if (open === 0 || data.open === undefined) return { status: Status.recovering };
  if (rules.renewRow && (open !== epoch || data.attempt !== attempt)) return { status: Status.foreign };
  const endsMs = permissionEnd(shard, untilMs);
  if (endsMs > data.open.untilMs) journal.set(data, "open", { ...data.open, untilMs: endsMs });
  return { status: Status.ok };
};

/** `shard-state.lua` */
export const shardState = (shard: Shard): ShardState => {
  const { data, server } = shard;
  const isThere = data.open !== undefined && data.open.untilMs > server.nowMs();
  return {
    epoch: data.epoch,
    open: isThere && data.open !== undefined ? { epoch: data.open.epoch, replicationId: data.open.replicationId } : null,
    isOpen: latch(shard) !== 0 && data.last !== undefined,
    replicationId: server.replicationId,
    isPrimary: server.isPrimary,
    attempt: data.attempt,
    applied: formatPosition(data.applied),
    last: formatPosition(lastId(shard)),
    outboxLength: data.outbox.length,
    leaseToken: leaseHolder(shard),
    nowMs: server.nowMs(),
  };
};

/** `close.lua`: step 0 of an attempt. */
export const closeShard = (shard: Shard, { token, attempt }: Of<CloseShard>): ShardClosed => {
  const { data, journal, server, rules } = shard;
  if (!server.isPrimary) return { status: Status.notPrimary };
  if (leaseHolder(shard) !== token) return { status: Status.notHolder };
  journal.begin();
  if (rules.closeDeletes) journal.set(data, "open", undefined);
  const { attempt: before, closed: beforeOn } = data;
  const { replicationId, hasReplicas } = server;
  journal.set(data, "attempt", attempt);
  journal.set(data, "closed", { replicationId, hasReplicas });
  return { status: Status.ok, epoch: data.epoch, last: formatPosition(lastId(shard)), replicationId, before, beforeOn };
};

/** Whether a step of an attempt comes to the server that the attempt closed, with no other attempt since. */
export const isFenced = ({ data, server, rules }: Shard, attempt: string, replicationId: string): boolean =>
  server.isPrimary && (!rules.fenceReplid || server.replicationId === replicationId) && (!rules.attempt || data.attempt === attempt);

/** Leaves the outbox empty, numbered from 1 in the epoch that begins. */
export const beginEpoch = ({ data, journal, rules }: Shard, epoch: number): void => {
  journal.set(data, "open", undefined);
  journal.set(data, "archived", new Set());
  if (rules.emptyOutbox) journal.set(data, "outbox", []);
  journal.set(data, "last", { epoch, seq: 0 });
  journal.set(data, "applied", { epoch, seq: 0 });
  journal.set(data, "epoch", epoch);
};

/** `keep.lua` */
export const keepShard = (shard: Shard, { attempt, replicationId, fromEpoch, upto, toEpoch, archived }: Of<KeepShard>): KeepAnswer => {
  const { data, journal, rules } = shard;
  if (!isFenced(shard, attempt, replicationId)) return { status: Status.overtaken };
  if (data.epoch === toEpoch) return { status: Status.duplicate };
  if (rules.keepLast && (data.epoch !== fromEpoch || formatPosition(lastId(shard)) !== upto)) return { status: Status.overtaken };
  journal.begin();
  if (rules.keepArchives) for (const saleId of archived) journal.remove(data.sales, saleId);
  beginEpoch(shard, toEpoch);
  return { status: Status.ok };
};

/** `open.lua`: step 4 of an attempt. */
export const openShard = (shard: Shard, { token, attempt, replicationId, epoch, untilMs }: Of<OpenShard>): OpenAnswer => {
  const { data, journal, server } = shard;
  if (!isFenced(shard, attempt, replicationId)) return { status: Status.overtaken };
  if (leaseHolder(shard) !== token || data.epoch !== epoch || data.last === undefined) return { status: Status.overtaken };
  const endsMs = permissionEnd(shard, untilMs);
  if (server.nowMs() >= endsMs) return { status: Status.overtaken };
  journal.begin();
  journal.set(data, "open", { epoch, replicationId: server.replicationId, untilMs: endsMs });
  return { status: Status.ok };
};
