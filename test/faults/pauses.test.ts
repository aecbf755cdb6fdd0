import { Redis } from "ioredis";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { shardKeys } from "#lua";
import { signal } from "../../deploy/local/index.ts";
import { environment, until } from "../harness/index.ts";
import { CoordinatorProcess } from "../harness/messages/process.ts";
import { Stimulus } from "./points.ts";
import { CrashWorld } from "../harness/crash-world.ts";
import { LiveSale } from "../harness/live-sale.ts";
import { stimuli } from "./stimuli.ts";

/**
 * A process that is stopped (SIGSTOP, a virtual machine that is moved, a long collection) believes when it goes on that
 * no time has passed. Each stops at a point in the middle of a sale, until what it held has been given up.
 */
const isWhole = environment["CRASH_MATRIX"] === "whole";

let world: CrashWorld;
const clients: Redis[] = [];
beforeAll(async () => {
  world = await CrashWorld.start();
  for (const { url } of (await world.stack.info()).redis) clients.push(new Redis(url).on("error", () => undefined));
}, 180_000);
afterAll(async () => {
  for (const client of clients) client.disconnect();
  await world?.close();
});

let number = 0;
const openSale = (): Promise<LiveSale> => LiveSale.open(world, `pause-${number++}`);

const GO_ON_EVERY_MS = 100;
let going: NodeJS.Timeout | undefined;
afterEach(() => clearInterval(going));

/** Lets a program's processes go on: also one that comes to the point later, of several processes each stops once. */
const goOn = async (program: "gateway" | "coordinator" | "workers"): Promise<void> => {
  const pids = await world.stack.pids(program);
  const all = (): void => {
    for (const pid of pids) signal(pid, "SIGCONT");
  };
  all();
  going = setInterval(all, GO_ON_EVERY_MS);
};

const paused = async (program: "gateway" | "coordinator" | "workers", point: string, pass: number): Promise<() => Promise<boolean>> => {
  const at = { program, point, pass, stimulus: Stimulus.sell };
  const before = await world.reached(at);
  world.arm(at, ":pause");
  return () => world.untilReached(at, before);
};

const launchRival = async (): Promise<CoordinatorProcess> => {
  const { redisShards, nats } = await world.stack.info();
  return CoordinatorProcess.launch({
    REDIS_SHARDS: redisShards,
    NATS_URL: nats.url,
    NATS_USER: nats.user ?? "",
    NATS_PASSWORD: nats.pass ?? "",
    DOORBUSTER_COORDINATOR_PORT: "0",
    DOORBUSTER_COORDINATOR_METRICS_PORT: "0",
  });
};

describe("a coordinator that stops past its lease", { timeout: 240_000 }, () => {
  const points = [
    ["log.append:before", 3, Stimulus.sell],
    ["log.append:after", 3, Stimulus.sell],
    ["shard.renew:before", 3, Stimulus.sell],
    ["shard.close:before", 1, Stimulus.keep],
    ["shard.close:after", 1, Stimulus.keep],
    ["shard.keep:before", 1, Stimulus.keep],
    ["shard.open:before", 1, Stimulus.keep],
    ["shard.open:after", 1, Stimulus.keep],
    ["rows.restore:before", 1, Stimulus.rebuild],
  ] as const;

  it.each(isWhole ? points : points.filter(([point]) => point === "shard.keep:before"))(
    "at %s: a rival takes over and sells, and the old one does no harm when it goes on",
    async (point, pass, stimulus) => {
      const sale = await openSale();
      const reached = await paused("coordinator", point, pass);
      const over = new AbortController();
      const stimulated = stimuli[stimulus]({ world, sale, reached: over.signal });
      expect(await reached(), `${point} was reached`).toBe(true);
      over.abort();
      await stimulated;
      const rival = await launchRival();
      try {
        for (const shard of clients.keys()) await until(() => rival.holds(shard), `the rival to take shard ${shard}`, 60_000);
        const won = sale.counts.won;
        await until(() => sale.counts.won > won + 10, "the rival's shards to sell", 60_000);
        await goOn("coordinator");
        await until(() => sale.counts.won > won + 40, "the sale to go on with both", 60_000);
      } finally {
        await rival.kill();
      }
      for (const [shard, client] of clients.entries())
        await until(async () => (await client.exists(shardKeys(shard).open)) === 1, `shard ${shard} to be open again`, 60_000);
      expect(await sale.end()).toEqual([]);
    },
  );
});

describe("workers that stop in a transaction", { timeout: 240_000 }, () => {
  const held = async (): Promise<number> => {
    const client = new Client({ connectionString: (await world.stack.info()).databaseUrl });
    await client.connect();
    const { rows } = await client.query<{ n: string }>(
      "select count(*) as n from pg_stat_activity where state = 'idle in transaction' and application_name = 'doorbuster-worker'",
    );
    await client.end();
    return Number(rows[0]?.n);
  };

  it.each(isWhole ? ["apply.advance:after", "apply.insertOrders:after", "apply.transaction:after"] : ["apply.advance:after"])(
    "at %s: lose it, and apply each entry once when they go on",
    async (point) => {
      const sale = await openSale();
      const reached = await paused("workers", point, 2);
      expect(await reached(), `${point} was reached`).toBe(true);
      await until(async () => (await held()) === 0, "Postgres to give the rows up", 60_000);
      await goOn("workers");
      expect(await sale.end()).toEqual([]);
    },
  );
});

describe.runIf(isWhole)("one of the workers' processes that stands still", { timeout: 240_000 }, () => {
  it("and does not go on: the broker deals requests to it, and the others answer", async () => {
    const sale = await openSale();
    const still = (await world.stack.pids("workers")).at(-1) as number;
    signal(still, "SIGSTOP");
    try {
      const won = sale.counts.won;
      await until(() => sale.counts.won > won + 200, "the sale to go on", 60_000);
      expect(await sale.end()).toEqual([]);
    } finally {
      signal(still, "SIGCONT");
    }
  });
});

describe.runIf(isWhole)("a gateway that stops with decisions on the way", { timeout: 240_000 }, () => {
  it.each(["buy.reserve:before", "buy.reserve:after"])(
    "at %s: its buyers ask again elsewhere or later, and hear the same",
    async (point) => {
      const sale = await openSale();
      const reached = await paused("gateway", point, 3);
      expect(await reached(), `${point} was reached`).toBe(true);
      await until(() => sale.counts.silent >= 3, "buyers to give their requests up", 60_000);
      await goOn("gateway");
      expect(await sale.end()).toEqual([]);
    },
  );
});
