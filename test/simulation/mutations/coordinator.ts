import type { MarkerRecord } from "#protocol/log-record";
import type { ShardLog } from "../../../coordinator/shards/relay/relay-ports.ts";
import type { Rows, ShardStore } from "../../../coordinator/shards/shard-ports.ts";
import type { ShardRow } from "#protocol/row";
import { parsePosition } from "#lua/core/position";
import type { KeeperPorts } from "../../../coordinator/compose.ts";
import type { Mutation } from "./mutation.ts";
import {
  CUT_OFF,
  FLAGGED,
  FLUSH_LOST,
  FORGOTTEN,
  HOLE,
  LATE_ENTRY,
  LATE_MARKER,
  LEASE_LOST,
  OLD_SERVER,
  OPEN_AGAIN,
  OVERTAKEN,
  PROMOTED,
} from "./directed.ts";
import { BROKER, RESTARTS } from "./profiles.ts";

const altersMarker =
  (change: (marker: MarkerRecord) => Partial<MarkerRecord>) =>
  (log: ShardLog): ShardLog => ({
    ...log,
    append: (message) => log.append(message.type === "marker" ? { ...message, ...change(message) } : message),
  });

/** Goes by the row in which an attempt found itself until the attempt is over; the keeper's next turn begins with a look at Redis. */
const readsOnce = ({ store, rows, ...ports }: KeeperPorts): KeeperPorts => {
  let nonce = "";
  let found: ShardRow | undefined;
  /** only open is left, before which an attempt looks at Redis, too */
  let isLast = false;
  return {
    ...ports,
    store: {
      ...store,
      state: () => {
        if (!isLast) {
          nonce = "";
          found = undefined;
        }
        isLast = false;
        return store.state();
      },
      keep: (request) => {
        isLast = true;
        return store.keep(request);
      },
      close: (request) => {
        nonce = request.attempt;
        isLast = false;
        return store.close(request);
      },
    },
    rows: {
      ...rows,
      restore: (request, stop, progress) => {
        isLast = true;
        return rows.restore(request, stop, progress);
      },
      row: async () => {
        if (found !== undefined) return found;
        const row = await rows.row();
        if (nonce !== "" && row.attempt === nonce) found = row;
        return row;
      },
    },
  };
};

/** Drops an entry from the outbox when the broker has it, not when Postgres has. */
const dropsAppended = (log: ShardLog, drop: (epoch: number, seq: number) => void): ShardLog => ({
  ...log,
  append: async (message) => {
    const answer = await log.append(message);
    if (message.type === "entries" && answer.status === "stored") drop(message.epoch, message.entries.at(-1)?.seq ?? 0);
    return answer;
  },
});

/** Believes that what it once appended is still in the log. */
const believesAppends = (log: ShardLog): ShardLog => {
  const appended = new Map<number, number>();
  return {
    ...log,
    append: async (message) => {
      const answer = await log.append(message);
      if (message.type === "entries" && answer.status === "stored")
        appended.set(message.epoch, Math.max(appended.get(message.epoch) ?? 0, message.entries.at(-1)?.seq ?? 0));
      return answer;
    },
    lastEntry: async (epoch) => {
      const last = await log.lastEntry(epoch);
      const seq = Math.max(last?.seq ?? 0, appended.get(epoch) ?? 0);
      return seq === 0 ? undefined : { streamSeq: last?.streamSeq ?? 0, seq };
    },
  };
};

/** Prolongs the permission on the last row it saw while nobody can read it; what Redis was told of since it takes for read. */
const renewsBlindly = ({ store, rows, ...ports }: KeeperPorts): KeeperPorts => {
  let seen: ShardRow | undefined;
  let settled = parsePosition("0-0");
  return {
    ...ports,
    store: {
      ...store,
      state: async () => {
        const state = await store.state();
        settled = parsePosition(state.applied);
        return state;
      },
    },
    rows: {
      ...rows,
      row: async () => {
        try {
          seen = await rows.row();
        } catch (error) {
          if (seen === undefined) throw error;
          if (settled?.epoch === seen.epoch) seen = { ...seen, applied: Math.max(seen.applied, settled.seq) };
        }
        return seen;
      },
    },
  };
};

/** Takes every server for the one that the row's attempt had closed, and waited for. */
const takesAnyServer = ({ store, rows, ...ports }: KeeperPorts): KeeperPorts => {
  let asked: ShardRow | undefined;
  return {
    ...ports,
    rows: {
      ...rows,
      row: async () => {
        asked = await rows.row();
        return asked;
      },
    },
    store: {
      ...store,
      close: async (request) => {
        const row = asked;
        const closed = await store.close(request);
        if (closed.status !== "ok" || row === undefined) return closed;
        const { replicationId } = closed;
        // with an epoch that is not that of its last id no state is kept: this is believed for the wait alone
        return { ...closed, epoch: row.epoch, before: row.attempt, beforeOn: { replicationId, hasReplicas: false } };
      },
    },
  };
};

/** An attempt goes by the row as it is only after its close. */
const asksAfterClose = ({ store, rows, ...ports }: KeeperPorts): KeeperPorts => {
  let asked: ShardRow | undefined;
  return {
    ...ports,
    rows: {
      ...rows,
      row: async () => {
        asked = { ...(await rows.row()) };
        return asked;
      },
    },
    store: {
      ...store,
      close: async (request) => {
        const before = asked;
        const closed = await store.close(request);
        if (before !== undefined) Object.assign(before, await rows.row());
        return closed;
      },
    },
  };
};

/** A lease that ends in Redis when its holder closes the shard, until it is prolonged. */
const losesLease = ({ store, ...ports }: KeeperPorts): KeeperPorts => ({
  ...ports,
  store: {
    ...store,
    close: async (request) => {
      await store.acquireLease(request.token, SHORT_MS);
      return store.close(request);
    },
  },
});

/** Enough for the close itself. */
const SHORT_MS = 300;

/** Rules of the keeper, the attempt and the relay. */
export const COORDINATOR_MUTATIONS: readonly Mutation[] = [
  {
    name: "flush",
    rule: "what the outbox holds is appended before the marker",
    twins: () => ({ shardStore: (store: ShardStore) => ({ ...store, readOutbox: async () => [] }) }),
  },
  {
    name: "marker's upto",
    rule: "the marker says up to which entry Redis's state goes",
    twins: () => ({ shardLog: altersMarker(() => ({ upto: "0-0" })) }),
    profile: FLUSH_LOST,
  },
  {
    name: "marker's Redis epoch",
    rule: "the marker says which epoch Redis was in",
    twins: () => ({ shardLog: altersMarker(({ from, upto }) => ({ redisEpoch: from, upto: `${from}-${upto.split("-")[1]}` })) }),
    profile: RESTARTS,
  },
  {
    name: "attempt's nonce",
    rule: "an attempt is named by a fresh nonce, not by its coordinator",
    twins: () => ({ random: (random, name) => ({ ...random, nonce: () => name }) }),
    profile: LATE_MARKER,
  },
  {
    name: "asked before the close",
    rule: "an attempt asks for the row before it closes the shard",
    twins: () => ({ keeper: asksAfterClose }),
    profile: LEASE_LOST,
  },
  {
    name: "lease lasts",
    rule: "the lease lasts in Redis for as long as its holder believes",
    twins: () => ({ keeper: losesLease }),
    profile: LEASE_LOST,
  },
  {
    name: "server's id",
    rule: "a broker that has restarted is another one: its log is looked at again",
    twins: () => ({
      shardLog: (log) => ({
        ...log,
        brokerId: () => (log.brokerId() === "" ? "" : "b"),
        verify: async () => ({ ...(await log.verify()), brokerId: "b" }),
      }),
    }),
    profile: HOLE,
  },
  {
    name: "row read again",
    rule: "before the last step and before open the row is read again",
    twins: () => ({ keeper: readsOnce }),
    profile: OVERTAKEN,
  },
  {
    name: "wait after a promotion",
    rule: "a server that started again is not taken for itself where it may be a replica that was promoted",
    twins: () => ({
      shardStore: (store: ShardStore) => ({
        ...store,
        close: async (request) => {
          const closed = await store.close(request);
          if (closed.status !== "ok" || closed.beforeOn === undefined) return closed;
          return { ...closed, beforeOn: { ...closed.beforeOn, hasReplicas: false } };
        },
      }),
    }),
    profile: PROMOTED,
  },
  {
    name: "wait for other servers",
    rule: "a server opens only when no other that the row's attempt had closed can still be open",
    twins: () => ({ keeper: takesAnyServer }),
    profile: OLD_SERVER,
  },
  {
    name: "permission's end",
    rule: "a permission ends one lifetime after its row was read, however late it comes to Redis",
    twins: () => ({ redis: { openLastsMs: 1_500 } }),
    profile: OPEN_AGAIN,
  },
  {
    name: "renewal against the row",
    rule: "the permission is renewed only when Postgres's row was read",
    twins: () => ({ keeper: renewsBlindly }),
    profile: CUT_OFF,
  },
  {
    name: "kept epochs wait for flags",
    rule: "a kept epoch in which units of a flagged sale are free waits until nobody believes the flag any more",
    twins: () => ({ rows: (rows: Rows) => ({ ...rows, row: async () => ({ ...(await rows.row()), flagged: false }) }) }),
    profile: FLAGGED,
  },
  {
    name: "gap heard",
    rule: "a gap in the row makes the coordinator append again",
    twins: () => ({ rows: (rows: Rows) => ({ ...rows, row: async () => ({ ...(await rows.row()), gap: null }) }) }),
    profile: LATE_ENTRY,
  },
  {
    name: "forgotten by the broker",
    rule: "a message that nobody is to ack any more, and that is not applied, makes the coordinator append again",
    twins: () => ({ shardLog: (log) => ({ ...log, verify: async () => ({ ...(await log.verify()), awaitsAck: true }) }) }),
    profile: FORGOTTEN,
  },
  {
    name: "log behind",
    rule: "a log that ends before what was appended makes the coordinator append again",
    twins: () => ({ shardLog: believesAppends }),
    profile: BROKER,
  },
  {
    name: "kept until applied",
    rule: "an entry stays in the outbox until Postgres has it",
    twins: () => ({
      shardLog: (log, shard, world) =>
        dropsAppended(log, (epoch, seq) => {
          const { data } = world.node(shard).current;
          data.outbox = data.outbox.filter((item) => item.epoch !== epoch || item.entry.seq > seq);
        }),
    }),
    profile: BROKER,
  },
];
