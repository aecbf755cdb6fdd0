import type { MarkerMessage } from "../../../coordinator/protocol/message.ts";
import type { SoldOutPorts } from "../../../coordinator/sold-out/ports.ts";
import type { ShardLog } from "../../../coordinator/relay/ports.ts";
import type { Rows, ShardStore } from "../../../coordinator/shards/ports.ts";
import type { ShardRow } from "../../../coordinator/protocol/row.ts";
import type { Stock } from "../../../lua/stock.ts";
import type { Twins } from "../world.ts";
import type { Mutation } from "./mutation.ts";
import { BROKER, NEW_PRIMARY, PAUSES, RESTARTS, STOCK_MOVES } from "./profiles.ts";

const altersMarker =
  (change: (marker: MarkerMessage) => Partial<MarkerMessage>) =>
  (log: ShardLog): ShardLog => ({
    ...log,
    append: (message) => log.append(message.type === "marker" ? { ...message, ...change(message) } : message),
  });

/** Reads the row until it shows an attempt's own epoch, and then believes for the rest of the attempt that it stays so. */
const readsOnce = (rows: Rows): Rows => {
  const nonceOf = ({ epoch, attempt }: ShardRow): string => `${epoch} ${attempt}`;
  let seen: ShardRow | undefined;
  let reads = 0;
  return {
    ...rows,
    row: async () => {
      // the keeper's looks are a second apart: what is read again at once is read within an attempt
      if (seen !== undefined && seen.epoch > 0 && reads < 3) {
        reads += 1;
        return seen;
      }
      const row = await rows.row();
      if (seen === undefined || nonceOf(seen) !== nonceOf(row)) reads = 0;
      seen = row;
      return row;
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

/** Prolongs the permission on the last row it saw while nobody can read it. */
const renewsBlindly = (rows: Rows): Rows => {
  let seen: ShardRow | undefined;
  return {
    ...rows,
    row: async () => {
      const row = await rows.row().catch(() => seen);
      if (row === undefined) throw new Error("no row was seen yet");
      seen = row;
      return row;
    },
  };
};

/** Takes every server for the one that the row's attempt had closed. */
const takesAnyServer = (): Twins => {
  let asked = "";
  let isAsking = false;
  return {
    shardLog: (log) => ({
      ...log,
      verify: () => {
        isAsking = true;
        asked = "";
        return log.verify();
      },
    }),
    rows: (rows) => ({
      ...rows,
      row: async () => {
        const row = await rows.row();
        // an attempt looks at the log, asks for the row and then looks at Redis; the keeper looks at Redis first
        if (isAsking) asked = row.attempt;
        isAsking = false;
        return row;
      },
    }),
    shardStore: (store) => ({
      ...store,
      state: async () => {
        const state = await store.state();
        const attempt = asked === "" ? state.attempt : asked;
        isAsking = false;
        asked = "";
        return { ...state, attempt };
      },
    }),
  };
};

/** An attempt goes by the row as it is only after its close. */
const asksAfterClose = (): Twins => {
  const asked = new Map<number, { row: ShardRow; rows: Rows }>();
  return {
    rows: (rows, shard) => ({
      ...rows,
      row: async () => {
        const row = { ...(await rows.row()) };
        asked.set(shard, { row, rows });
        return row;
      },
    }),
    shardStore: (store, shard) => ({
      ...store,
      close: async (request) => {
        const before = asked.get(shard);
        const closed = await store.close(request);
        if (before !== undefined) Object.assign(before.row, await before.rows.row());
        return closed;
      },
    }),
  };
};

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
    profile: BROKER,
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
    profile: PAUSES,
  },
  {
    name: "asked before the close",
    rule: "an attempt asks for the row before it closes the shard",
    twins: asksAfterClose,
    profile: PAUSES,
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
    profile: BROKER,
  },
  {
    name: "row read again",
    rule: "before the last step and before open the row is read again",
    twins: () => ({ rows: readsOnce }),
    profile: PAUSES,
  },
  {
    name: "wait after a promotion",
    rule: "after a promotion one lifetime of the permission passes before open",
    twins: () => ({
      shardStore: (store: ShardStore) => ({
        ...store,
        close: async (request) => {
          const closed = await store.close(request);
          return closed.status === "ok" ? { ...closed, promoted: false } : closed;
        },
      }),
    }),
    profile: NEW_PRIMARY,
  },
  {
    name: "wait for other servers",
    rule: "a server opens only when no other that the row's attempt had closed can still be open",
    twins: takesAnyServer,
    profile: NEW_PRIMARY,
  },
  {
    name: "renewal against the row",
    rule: "the permission is renewed only when Postgres's row was read",
    twins: () => ({ rows: renewsBlindly }),
    profile: NEW_PRIMARY,
  },
  {
    name: "kept epochs wait for flags",
    rule: "a kept epoch in which units of a flagged sale are free waits until nobody believes the flag any more",
    twins: () => ({ rows: (rows: Rows) => ({ ...rows, row: async () => ({ ...(await rows.row()), flagged: false }) }) }),
    profile: RESTARTS,
  },
  {
    name: "gap heard",
    rule: "a gap in the row makes the coordinator append again",
    twins: () => ({ rows: (rows: Rows) => ({ ...rows, row: async () => ({ ...(await rows.row()), gap: null }) }) }),
    profile: BROKER,
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

const altersStock = (change: (stock: Extract<Stock, { status: "ok" }>) => Partial<Extract<Stock, { status: "ok" }>>) => ({
  soldOutPorts: (ports: Parameters<NonNullable<ReturnType<Mutation["twins"]>["soldOutPorts"]>>[0]) => ({
    ...ports,
    stock: async (shard: number, saleId: string): Promise<Stock> => {
      const stock = await ports.stock(shard, saleId);
      return stock.status === "ok" ? { ...stock, ...change(stock) } : stock;
    },
  }),
});

/** Takes what the first look saw for what a look after Postgres's answer would see. */
const looksOnce = (ports: SoldOutPorts): SoldOutPorts => {
  const first = new Map<string, Map<number, Stock>>();
  const again = new Map<string, Map<number, Stock>>();
  return {
    ...ports,
    stock: async (shard, saleId) => {
      const seen = again.get(saleId)?.get(shard);
      again.get(saleId)?.delete(shard);
      if (seen !== undefined) return seen;
      const stock = await ports.stock(shard, saleId);
      const shards = first.get(saleId) ?? new Map<number, Stock>();
      first.set(saleId, shards.set(shard, stock));
      return stock;
    },
    facts: async (saleId) => {
      const facts = await ports.facts(saleId);
      const seen = first.get(saleId) ?? new Map<number, Stock>();
      const areSame = facts.epochs.every(([shard, epoch]) => {
        const stock = seen.get(shard);
        return stock?.status === "ok" && stock.epoch === epoch;
      });
      // otherwise there is no second look
      if (areSame && !facts.soldOut && facts.sentGrants === 0) again.set(saleId, new Map(seen));
      return facts;
    },
  };
};

/** Rules of the sold-out decision (DESIGN 7.4). */
export const SOLD_OUT_MUTATIONS: readonly Mutation[] = [
  {
    name: "sold out: sent grants",
    rule: "no unit may be on its way",
    twins: () => ({
      soldOutPorts: (ports) => ({ ...ports, facts: async (saleId) => ({ ...(await ports.facts(saleId)), sentGrants: 0 }) }),
    }),
    profile: STOCK_MOVES,
  },
  {
    name: "sold out: every shard",
    rule: "all shards of the sale are looked at",
    twins: () => ({
      soldOutPorts: (ports) => {
        const seen = new Map<string, Stock>();
        return {
          ...ports,
          stock: async (shard, saleId) => {
            const first = seen.get(saleId);
            const stock = await ports.stock(shard, saleId);
            if (stock.status === "ok" && stock.left === 0) seen.set(saleId, stock);
            return first ?? stock;
          },
        };
      },
    }),
    profile: STOCK_MOVES,
  },
  {
    name: "sold out: second look",
    rule: "the shards are looked at once more after Postgres",
    twins: () => ({ soldOutPorts: looksOnce }),
    profile: STOCK_MOVES,
  },
  {
    name: "sold out: Postgres's epochs",
    rule: "the shards that are looked at are in the epochs that Postgres names",
    twins: () => ({
      soldOutPorts: (ports) => {
        const epochs = new Map<number, number>();
        return {
          ...ports,
          stock: async (shard, saleId) => {
            const stock = await ports.stock(shard, saleId);
            if (stock.status === "ok") epochs.set(shard, stock.epoch);
            return stock;
          },
          facts: async (saleId) => ({ ...(await ports.facts(saleId)), epochs: [...epochs] }),
        };
      },
    }),
    profile: NEW_PRIMARY,
  },
  {
    name: "sold out: moves applied",
    rule: "a shard whose last stock move is not in Postgres is not done",
    twins: () => altersStock(() => ({ movesApplied: true })),
    profile: STOCK_MOVES,
  },
];
