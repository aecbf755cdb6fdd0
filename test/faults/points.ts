import type { ProgramName } from "../../deploy/local/index.ts";

/** What has to happen so that a program comes to a point; beside it, buyers buy all the time. */
export const Stimulus = {
  /** nothing more */
  sell: "sell",
  /** every Redis is killed and comes back with its data: a new epoch that keeps it */
  keep: "keep",
  /** every Redis comes back empty, when all is in Postgres: a new epoch, rebuilt from there */
  rebuild: "rebuild",
  /** a second sale is opened, sells out and is flagged */
  sellOut: "sellOut",
  /** small sales on two shards sell out: their last units are moved to who asks */
  move: "move",
  /** further sales are opened, changed, and given more units */
  manage: "manage",
  /** orders are paid, cancelled and refunded, and expire */
  end: "end",
  /** sales are closed and archived, and their buyers ask again */
  archive: "archive",
  /** buyers ask for their standing, and for sales that do not exist */
  ask: "ask",
  /** another service sends two-phase messages */
  message: "message",
  /** somebody writes nonsense into the log */
  garbage: "garbage",
  /** Postgres is killed */
  postgres: "postgres",
  /** the program is asked to stop */
  stop: "stop",
} as const;
export type Stimulus = (typeof Stimulus)[keyof typeof Stimulus];

export interface CrashPoint {
  readonly program: ProgramName;
  /** `<port>.<call>:before` or `:after` */
  readonly point: string;
  readonly pass: number;
  readonly stimulus: Stimulus;
}

type Calls = Readonly<Partial<Record<Stimulus, readonly string[]>>>;

/** Every call of every port that a sale, a recovery or a message comes to. */
const CALLS: Readonly<Record<ProgramName, Calls>> = {
  gateway: {
    sell: ["buy.reserve", "soldOut.flags"],
    ask: ["buy.standing"],
    sellOut: ["soldOut.stock", "soldOut.buyers"],
  },
  coordinator: {
    sell: [
      "shard.state",
      "shard.acquireLease",
      "shard.renew",
      "outbox.read",
      "rows.row",
      "log.append",
      "log.lastEntry",
      "log.verify",
      "transfers.draining",
      "soldOut.flags",
    ],
    keep: ["shard.close", "shard.readOutbox", "shard.listSales", "rows.rowAndArchived", "shard.keep", "shard.open", "outbox.close"],
    rebuild: ["rows.restore"],
    sellOut: ["soldOut.stock", "soldOut.facts", "soldOut.setSoldOut"],
    move: ["transfers.stock", "transfers.facts", "transfers.withdraw"],
    message: [
      "messages.nowMs",
      "messages.create",
      "messages.read",
      "messages.change",
      "messages.claim",
      "messages.purge",
      "messages.notePlacement",
      "caller.call",
    ],
    stop: ["shard.releaseLease"],
  },
  workers: {
    sell: [
      "apply.insertOrders",
      "apply.sell",
      "apply.advance",
      "apply.transaction",
      "delivery.ack",
      "settler.settle",
      "sweep.undelivered",
      "sweep.sentGrants",
      "sweep.positions",
      "sweep.undropped",
      "sweep.settle",
      "row.handle",
      "sold-out.flags.handle",
      "transfer.draining.handle",
    ],
    move: ["apply.withdraw", "transfer.facts.handle"],
    keep: ["apply.beginEpoch", "row-and-archived.handle"],
    rebuild: [
      "restore.snapshot",
      "restore.stageBuyers",
      "restore.stageGrants",
      "restore.stageSale",
      "restore.listSales",
      "restore.row",
      "restore.swap",
      "restore.handle",
    ],
    sellOut: ["sold-out.facts.handle", "sold-out.set.handle"],
    manage: [
      "apply.takeGrants",
      "sweep.defineSale",
      "sweep.delivered",
      "sweep.grant",
      "sale.open.handle",
      "sale.change.handle",
      "sale.add-units.handle",
    ],
    end: ["orders.expire", "orders.dueSales", "orders.transaction", "sweep.offer", "order.pay.handle", "order.change.handle"],
    ask: ["sale.find.handle"],
    archive: ["archive.end", "archive.stock", "archive.state", "archive.archive", "sweep.drop", "sweep.dropped"],
    garbage: ["apply.park", "apply.recordGap"],
    postgres: ["delivery.working"],
  },
};

/** The first pass of what a program does while it starts would be before it has done anything. */
const LATER: Readonly<Record<string, number>> = {
  "buy.reserve": 3,
  "shard.state": 3,
  "shard.renew": 3,
  "outbox.read": 4,
  "log.append": 3,
  "log.verify": 3,
  "apply.insertOrders": 2,
  "apply.transaction": 3,
  "delivery.ack": 3,
  "messages.claim": 3,
};

export const crashPoints: readonly CrashPoint[] = Object.entries(CALLS).flatMap(([program, calls]) =>
  Object.entries(calls).flatMap(([stimulus, names]) =>
    names.flatMap((name) =>
      (["before", "after"] as const).map((when) => ({
        program: program as ProgramName,
        point: `${name}:${when}`,
        pass: LATER[name] ?? 1,
        stimulus: stimulus as Stimulus,
      })),
    ),
  ),
);

/**
 * Calls of the ports that no run of a sound system comes to, or that change nothing outside: they have no row in the
 * matrix. The test of completeness fails for any other that has none.
 */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  "buy.isReady": "looks at nothing but this process",
  "buy.reset": "gives a connection up",
  "caller.close": "gives connections up when all is done",
  "log.brokerId": "looks at nothing but this process",
  "log.purge": "needs 4 MB of entries in the log; tested in coordinator/shards/relay and coordinator/shards/log",
  "shard.openOutbox": "opens a connection",
  "delivery.again": "a worker that stops while Postgres is away",
  "sweep.notDelivered": "a Redis that lost a sale between two calls",
  "shards.handle": "shows what is",
  "sale.list.handle": "shows what is",
  "archive.due": "looks for what ended days ago; what follows is what a command does",
  "order.read.handle": "shows what is",
  "orders.read": "shows what is",
  "purchases.orders.handle": "shows what is",
  "orders.ofPurchases": "shows what is",
  "shard.change.handle": "an operator's command; tested in workers/shards and test/faults/stores",
  "apply.insertRejected": "needs a wrong history; tested in workers/apply",
  "apply.rejectInserted": "needs a wrong history; tested in workers/apply",
  "apply.roomOf": "needs a wrong history; tested in workers/apply",
  "apply.rejectedOf": "needs a wrong history; tested in workers/apply",
  "apply.halt": "needs a wrong history; tested in workers/apply",
};
