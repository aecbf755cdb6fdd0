import type { ShardRow } from "#protocol/row";
import { decodeLogRecord, type LogRecord } from "#protocol/log-record";
import type { Delivery } from "../../../workers/apply/delivery.ts";
import type { ApplyStore } from "../../../workers/apply/apply-store.ts";
import type { SoldOutFlag } from "#protocol/sale";
import type { Mutation } from "./mutation.ts";
import { FLAGGED, FLUSH_LOST, SETTLED_TWICE, UNHEARD } from "./directed.ts";
import { BROKER, PAUSES, RESTARTS, STOCK_MOVES } from "./profiles.ts";

/** Shows the plan another row than the one that is locked. */
const seesRow =
  (change: (row: ShardRow, message: LogRecord) => Partial<ShardRow>) =>
  (store: ApplyStore, delivery: Delivery): ApplyStore => {
    const message = decodeLogRecord(delivery.body);
    return {
      transaction: (shard, work) =>
        store.transaction(shard, (row, transaction) =>
          work(message === undefined ? row : { ...row, ...change(row, message) }, transaction),
        ),
    };
  };

const firstSeq = (message: LogRecord): number => (message.type === "entries" ? (message.entries[0]?.seq ?? 1) : 1);

/** Rules of the worker: applying, restoring, bringing stock to Redis. */
export const WORKER_MUTATIONS: readonly Mutation[] = [
  {
    name: "gap refusal",
    rule: "an entry that does not follow is not applied",
    twins: () => ({
      applyStore: seesRow((row, message) =>
        message.type === "entries" && message.epoch === row.epoch && firstSeq(message) > row.applied + 1
          ? { applied: firstSeq(message) - 1 }
          : {},
      ),
    }),
    profile: BROKER,
  },
  {
    name: "repeats skipped",
    rule: "what is at or before the position is skipped",
    twins: () => ({
      applyStore: seesRow((row, message) =>
        message.type === "entries" && message.epoch === row.epoch ? { applied: firstSeq(message) - 1 } : {},
      ),
    }),
    profile: BROKER,
  },
  {
    name: "epoch fence",
    rule: "entries of another epoch than the row's are refused",
    twins: () => ({
      applyStore: seesRow((_row, message) => (message.type === "entries" ? { epoch: message.epoch, applied: firstSeq(message) - 1 } : {})),
    }),
    profile: RESTARTS,
  },
  {
    name: "marker's gap",
    rule: "a marker behind a flush that was lost is refused",
    twins: () => ({
      applyStore: seesRow((row, message) =>
        message.type === "marker" && message.redisEpoch === row.epoch && message.from === row.epoch
          ? { applied: Math.max(row.applied, Number(message.upto.split("-")[1])) }
          : {},
      ),
      postgres: { beginConditional: false },
    }),
    profile: FLUSH_LOST,
  },
  {
    name: "marker's from",
    rule: "a marker begins an epoch only if the row still is where its attempt found it",
    twins: () => ({
      applyStore: seesRow((row, message) => (message.type === "marker" && message.from < row.epoch ? { epoch: message.from } : {})),
      postgres: { beginConditional: false },
    }),
    profile: PAUSES,
  },
  {
    name: "ack after the commit",
    rule: "a message is acked when Postgres has it",
    twins: () => ({
      delivery: (delivery) => {
        delivery.ack();
        return delivery;
      },
    }),
    profile: BROKER,
  },
  {
    name: "settle heard by the epoch's server",
    rule: "the sweep tells a position again until a server of its epoch has heard it",
    twins: () => ({
      sweepShards: (shards) => ({
        ...shards,
        settle: async (position) => {
          await shards.settle(position);
          return { status: "ok" };
        },
      }),
    }),
    profile: SETTLED_TWICE,
  },
  {
    name: "flagged grants wait",
    rule: "a unit of a sale that was flagged reaches Redis only when nobody believes the flag any more",
    twins: () => ({
      sweepStore: (store) => ({
        ...store,
        sentGrants: async () => (await store.sentGrants()).map((grant) => Object.assign(grant, { flagged: false })),
      }),
    }),
    profile: STOCK_MOVES,
  },
  {
    name: "rebuilds wait for flags",
    rule: "a rebuild that brings units back waits until nobody believes the flag any more",
    twins: () => ({
      restoreSource: (source) => ({
        ...source,
        snapshot: (shard, read) =>
          source.snapshot(shard, (snapshot) =>
            read({ ...snapshot, sales: snapshot.sales.map((sale) => Object.assign(sale, { everSoldOut: false })) }),
          ),
      }),
    }),
    profile: FLAGGED,
  },
  {
    name: "flag's lease",
    rule: "a gateway believes a flag for a moment; silence means: ask Redis",
    twins: () => ({
      soldOutStore: (store) => {
        let last: readonly SoldOutFlag[] = [];
        return {
          ...store,
          flags: async () => {
            last = await store.flags().catch(() => last);
            return last;
          },
        };
      },
    }),
    profile: UNHEARD,
  },
];
