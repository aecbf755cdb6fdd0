import { beforeEach, describe, expect, it } from "vitest";
import type { ShardState } from "#lua/shard/shard-state";
import { until } from "../../test/harness/index.ts";
import type { ShardRow } from "#protocol/row";
import type { ShardLog } from "./relay/relay-ports.ts";
import { Keeper } from "./keeper.ts";
import type { KeeperObserver } from "./keeper-observer.ts";
import type { Rows, ShardStore, StoreSettings } from "./shard-ports.ts";

const unexpected = (what: string) => (): never => {
  throw new Error(`${what} was not expected`);
};

/** No time passes: what has to be waited for never comes, unless somebody stops. */
const clock = {
  monotonicMs: () => 0,
  sleep: (_ms: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      waitedAfter.add(closes.length);
      if (signal?.aborted === true) resolve();
      signal?.addEventListener("abort", () => resolve(), { once: true });
    }),
};

const row: ShardRow = {
  shard: 0,
  epoch: 4,
  applied: 7,
  attempt: "before",
  mode: "keep",
  flagged: false,
  gap: null,
  wall: false,
  halted: null,
  draining: false,
};

const emptyServer: ShardState = {
  epoch: 0,
  open: null,
  isOpen: false,
  replicationId: "r",
  isPrimary: true,
  attempt: "",
  applied: "0-0",
  last: "0-0",
  outboxLength: 0,
  leaseToken: "",
  nowMs: 0,
};

/** The lease of a server that loses everything once, at the first close. */
let lease: string | undefined;
let closes: ("ok" | "not_holder")[];
let isRivalFaster: boolean;
/** numbers of closes after which somebody waited */
let waitedAfter: Set<number>;
beforeEach(() => {
  waitedAfter = new Set();
  lease = undefined;
  closes = [];
  isRivalFaster = false;
});

const store: ShardStore = {
  // as a server does, it leaves others their turns
  state: () => new Promise((resolve) => setImmediate(resolve, emptyServer)),
  acquireLease: (token) => {
    lease ??= token;
    return Promise.resolve({ status: lease === token ? "ok" : "not_holder" });
  },
  releaseLease: () => Promise.resolve({ status: "ok" }),
  close: ({ token }) => {
    if (closes.length === 0) lease = isRivalFaster ? "rival" : undefined;
    const status = lease === token ? "ok" : "not_holder";
    closes.push(status);
    return Promise.resolve(
      status === "ok" ? { status, epoch: 0, last: "0-0", replicationId: "r", before: "", beforeOn: undefined } : { status },
    );
  },
  keep: unexpected("keep"),
  open: unexpected("open"),
  renew: unexpected("renew"),
  listSales: unexpected("a list of sales"),
  readOutbox: unexpected("a read of the outbox"),
  openOutbox: unexpected("an outbox"),
};

const rows: Rows = {
  row: () => Promise.resolve(row),
  rowAndArchived: unexpected("archived sales"),
  restore: unexpected("a restore"),
};

const log = {
  verify: () => Promise.resolve({ brokerId: "b", lastSeq: 0, consumedSeq: 0, deliveredSeq: 0, awaitsAck: false, consumer: "c" }),
  append: () => Promise.resolve({ status: "stored", streamSeq: 1, bytes: 1 }),
  brokerId: () => "b",
} as Partial<ShardLog> as ShardLog;

const settings: StoreSettings = { refusals: () => Promise.resolve([]) };

const observer = new Proxy({} as KeeperObserver, { get: () => () => undefined });

const keep = async (seen: () => Promise<void>): Promise<void> => {
  let nonces = 0;
  const random = { nonce: () => `n${(nonces += 1)}`, fraction: () => 0.5 };
  const keeper = new Keeper({ shard: 0, leaseMs: 3_000, openMs: 5_000, store, rows, log, settings, clock, random, observer });
  const stop = new AbortController();
  const running = keeper.run(stop.signal);
  await seen();
  stop.abort();
  await running;
};

describe("a keeper whose server has lost its data, and the lease with it", () => {
  it("asks for the lease again and makes the next attempt at once", async () => {
    await keep(() => until(() => closes.length > 1, "the next attempt, though no time has passed"));
    expect(closes).toEqual(["not_holder", "ok"]);
  });

  it("makes none while another coordinator has it", async () => {
    isRivalFaster = true;
    await keep(() => until(() => waitedAfter.has(1), "the keeper to wait"));
    expect(closes).toEqual(["not_holder"]);
  });
});
