import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { connectShard } from "#program/connect";
import { systemClock } from "#program/system";
import { until } from "../../test/harness/index.ts";
import { startGatewayWorld, type GatewayWorld } from "../../test/harness/gateway-world.ts";
import { RedisConnections } from "../stores/connections.ts";
import { Batcher, SECOND_CALL_LEAST, type BatchOperation } from "./batcher.ts";
import { refusals, type Outcome } from "./outcome.ts";
import { reserveOperation } from "./purchases.ts";
import { redisPurchaseStore } from "../stores/purchase-store.ts";
import { systemTurn } from "../stores/system.ts";
import type { Reserved } from "#lua/stock/reserve";

let world: GatewayWorld;
const connections: Redis[] = [];

interface Seen {
  readonly calls: { readonly saleId: string; readonly size: number; readonly together: number }[];
  resets: number;
}

/** A batcher to the real shard that notes what it sends. */
const batcherOf = async (
  options: { queueLimit?: number; timeoutMs?: number } = {},
): Promise<{ batcher: Batcher<string, Reserved>; seen: Seen }> => {
  const redis = connectShard((world.redis[0] as { url: string }).url, 0, {
    name: "test",
    log: pino({ level: "silent" }),
    commandTimeoutMs: 0,
  });
  connections.push(redis);
  await until(() => redis.status === "ready", "connected");
  const seen: Seen = { calls: [], resets: 0 };
  const store = redisPurchaseStore(redis, 0, 100_000);
  const real = reserveOperation({
    shard: 0,
    store,
    shardsOf: () => 1,
    hold: () => undefined,
    refused: () => undefined,
    lookUp: (_saleId, _purchase, answer) => answer(refusals.refused),
    soldOut: () => refusals.soldOut,
    wallNowMs: () => Date.now(),
    missing: () => undefined,
  });
  let together = 0;
  const operation: BatchOperation<string, Reserved> = {
    ...real,
    send: async (saleId, items) => {
      together += 1;
      seen.calls.push({ saleId, size: items.length, together });
      try {
        return await real.send(saleId, items);
      } finally {
        together -= 1;
      }
    },
    reset: () => {
      seen.resets += 1;
      real.reset();
    },
  };
  return {
    batcher: new Batcher(operation, { clock: systemClock, turn: systemTurn, queueLimit: 10_000, timeoutMs: 2_000, ...options }),
    seen,
  };
};

const now = (): number => systemClock.monotonicMs();
let answeredTwice = 0;
const join = (batcher: Batcher<string, Reserved>, saleId: string, uid: string): Promise<Outcome> =>
  new Promise((resolve) => {
    let answers = 0;
    const answer = (outcome: Outcome): void => {
      answers += 1;
      if (answers > 1) answeredTwice += 1;
      resolve(outcome);
    };
    const refusal = batcher.join(saleId, uid, answer, now());
    if (refusal !== undefined) answer(refusal);
  });
const uidsOf = (count: number): string[] => Array.from({ length: count }, (_, i) => `u${i}`);
const codesOf = (outcomes: readonly Outcome[]): string[] => [...new Set(outcomes.map(({ code }) => code))].sort();

beforeAll(async () => {
  world = await startGatewayWorld();
  await world.openSale({ id: "a" }, 1_000_000);
  await world.openSale({ id: "b" }, 1_000_000);
});
afterEach(() => {
  for (const redis of connections.splice(0)) redis.disconnect();
  expect(answeredTwice).toBe(0);
});
afterAll(() => world.stop());

describe("a connection", () => {
  it("whose greeting does not come is tried anew", async () => {
    const [server] = world.redis as [(typeof world.redis)[0]];
    process.kill(server.pid, "SIGSTOP");
    let connections: RedisConnections;
    try {
      connections = new RedisConnections(
        [server.url, server.url],
        { name: "test", log: pino({ level: "silent" }), commandTimeoutMs: 0 },
        0,
      );
      const redis = connections.of(0);
      expect(connections.of(1)).toBe(redis);
      await until(() => redis.status === "connect", "TCP is connected");
      let closed = false;
      redis.once("close", () => (closed = true));
      connections.tick(4_999);
      connections.tick(5_000);
      await until(() => closed, "the connection is given up");
      expect(connections.isReady).toBe(false);
    } finally {
      process.kill(server.pid, "SIGCONT");
    }
    await until(() => connections.isReady, "the next one is greeted");
    connections.close();
  });
});

describe("a batcher", () => {
  it("sends what came in one turn together: at most 512 a call, two calls at once", async () => {
    // so long that no batch is too old to grow, however slow the machine
    const { batcher, seen } = await batcherOf({ timeoutMs: 60_000 });
    const outcomes = await Promise.all(uidsOf(2_000).map((uid) => join(batcher, "a", uid)));
    expect(codesOf(outcomes)).toEqual(["reserved"]);
    expect(seen.calls.map(({ size }) => size)).toEqual([512, 512, 512, 464]);
    expect(Math.max(...seen.calls.map(({ together }) => together))).toBe(2);
    expect(batcher.isIdle).toBe(true);
  });

  it("sends a lone request at once, alone", async () => {
    const { batcher, seen } = await batcherOf();
    expect(await join(batcher, "a", "lone")).toMatchObject({ code: "reserved" });
    expect(seen.calls).toEqual([{ saleId: "a", size: 1, together: 1 }]);
  });

  it("lets sales take turns: a crowd for one does not keep another waiting until it is through", async () => {
    const { batcher, seen } = await batcherOf();
    const crowd = uidsOf(3_000).map((uid) => join(batcher, "a", uid));
    const few = uidsOf(5).map((uid) => join(batcher, "b", uid));
    await Promise.all([...crowd, ...few]);
    expect(seen.calls.map(({ saleId }) => saleId).indexOf("b")).toBe(1);
    expect(seen.calls.every(({ saleId, size }) => saleId === "a" || size === 5)).toBe(true);
  });

  it("is busy at its bound and nobody beyond it costs Redis anything", async () => {
    const { batcher, seen } = await batcherOf({ queueLimit: 1_000 });
    const outcomes = await Promise.all(uidsOf(1_500).map((uid) => join(batcher, "a", `bound-${uid}`)));
    expect(outcomes.filter(({ code }) => code === "busy")).toHaveLength(500);
    expect(seen.calls.reduce((sum, { size }) => sum + size, 0)).toBe(1_000);
  });

  it("a shard that is not open, or has not heard of the sale, is recovering: never sold out", async () => {
    const { batcher } = await batcherOf();
    expect(await join(batcher, "not-here-yet", "u")).toMatchObject({ code: "recovering", retryAfterMs: 1_000 });
    await world.client(0).del("{s0}:open");
    expect(await join(batcher, "a", "u")).toMatchObject({ code: "recovering", retryAfterMs: 1_000 });
    await world.openShard(0);
    expect(await join(batcher, "a", "not-open-then")).toMatchObject({ code: "reserved" });
  });

  it("sends a second call beside another only when many wait; the others go with the answer", async () => {
    const { batcher, seen } = await batcherOf();
    const { pid } = world.redis[0] as { pid: number };
    await join(batcher, "a", "warm-second");
    const sizes = (): number[] => seen.calls.slice(1).map(({ size }) => size);
    process.kill(pid, "SIGSTOP");
    let told: Promise<Outcome>[] = [];
    try {
      told = [join(batcher, "a", "second-first")];
      await until(() => seen.calls.length === 2, "the first call is out");
      told.push(...uidsOf(SECOND_CALL_LEAST - 1).map((uid) => join(batcher, "a", `second-${uid}`)));
      await delay(0);
      await delay(0);
      expect([sizes(), batcher.queued]).toEqual([[1], SECOND_CALL_LEAST - 1]);
      told.push(join(batcher, "a", "second-last"));
      await until(() => seen.calls.length === 3, "the second call is out");
      told.push(join(batcher, "a", "second-after"));
    } finally {
      process.kill(pid, "SIGCONT");
    }
    expect(codesOf(await Promise.all(told))).toEqual(["reserved"]);
    expect(sizes()).toEqual([1, SECOND_CALL_LEAST, 1]);
  });

  it("a Redis that hangs: everybody is answered in time, two batches are held and no more, and repeats tell the truth", async () => {
    const timeoutMs = 300;
    const { batcher, seen } = await batcherOf({ timeoutMs });
    const { pid } = world.redis[0] as { pid: number };
    await join(batcher, "a", "warm");
    const callsBefore = seen.calls.length;
    process.kill(pid, "SIGSTOP");
    const ticking = setInterval(() => batcher.tick(now()), 20);
    try {
      const first = uidsOf(600).map((uid) => join(batcher, "a", `slow-${uid}`));
      await delay(0);
      const second = uidsOf(600).map((uid) => join(batcher, "a", `later-${uid}`));
      const outcomes = await Promise.all([...first, ...second]);
      expect(codesOf(outcomes)).toEqual(["recovering", "try_again"]);
      expect(outcomes.every(({ retryAfterMs }) => retryAfterMs === 1_000)).toBe(true);
      expect(outcomes.filter(({ code }) => code === "try_again").every(({ detail }) => detail?.includes("unknown"))).toBe(true);
      // While the calls are overdue nothing is taken at all.
      expect(await join(batcher, "a", "afterwards")).toMatchObject({ code: "recovering" });
      expect(seen.calls.length - callsBefore).toBe(2);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await until(() => {
      batcher.tick(now());
      return batcher.isIdle;
    }, "the late answers came");
    batcher.tick(now());
    clearInterval(ticking);
    const after = await Promise.all(uidsOf(600).map((uid) => join(batcher, "a", `slow-${uid}`)));
    expect(codesOf(after)).toEqual(["reserved"]);
    expect(after.filter(({ repeat }) => repeat === true).length).toBeGreaterThanOrEqual(512);
    const held = await world.client(0).hkeys("{s0}:buyers:a");
    expect(held.filter((uid) => uid.startsWith("slow-"))).toHaveLength(600);
    expect(held.filter((uid) => uid === "afterwards")).toHaveLength(0);
  });

  it("gives a connection up that stays silent, and sells on the next", async () => {
    const { batcher, seen } = await batcherOf({ timeoutMs: 100 });
    const { pid } = world.redis[0] as { pid: number };
    process.kill(pid, "SIGSTOP");
    const ticking = setInterval(() => batcher.tick(now()), 10);
    try {
      expect(await join(batcher, "a", "silent")).toMatchObject({ code: "try_again" });
      await until(() => seen.resets === 1 && batcher.isIdle, "the connection is given up");
      expect(await join(batcher, "a", "between")).toMatchObject({ code: "recovering" });
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await until(async () => (await join(batcher, "a", "again")).code === "reserved", "it sells again");
    clearInterval(ticking);
    expect(seen.resets).toBe(1);
  });

  it("a Redis that dies: what was sent is unknown, what comes is recovering until an epoch has begun, then the truth", async () => {
    const { batcher } = await batcherOf();
    const won = await join(batcher, "b", "before");
    const [server] = world.redis as [(typeof world.redis)[0]];
    const inFlight = uidsOf(100).map((uid) => join(batcher, "b", `flight-${uid}`));
    await delay(0);
    await server.kill();
    const during = await Promise.all(inFlight);
    expect(codesOf(during).every((code) => code === "try_again" || code === "reserved")).toBe(true);
    expect(await join(batcher, "b", "while-away")).toMatchObject({ code: "recovering", retryAfterMs: 1_000 });
    await server.start();
    await until(async () => (await join(batcher, "b", "before")).code === "recovering", "connected, not open");
    await until(() => world.client(0).status === "ready", "connected");
    await world.openShard(0);
    await until(async () => (await join(batcher, "b", "probe")).code === "reserved", "open again");
    expect(await join(batcher, "b", "before")).toMatchObject({ code: "confirmed", orderId: won.orderId });
    const after = await Promise.all(uidsOf(100).map((uid) => join(batcher, "b", `flight-${uid}`)));
    after.forEach((outcome, i) => {
      if (during[i]?.code === "reserved") expect(outcome).toMatchObject({ code: "confirmed", orderId: during[i].orderId });
      else expect(["reserved", "confirmed"]).toContain(outcome.code);
    });
    expect(await world.client(0).hlen("{s0}:buyers:b")).toBe(5 + 100 + 2);
  });
});
