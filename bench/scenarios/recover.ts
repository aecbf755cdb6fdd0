import { spawn, type ChildProcess } from "node:child_process";
import { rm } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { signal, until } from "../../deploy/local/index.ts";
import { addresses, requestText } from "../load/prepared-requests.ts";
import { generate } from "../load/generator.ts";
import { exitOf, tracked } from "../load/child.ts";
import { orderOf } from "../load/send.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { rawAnswer, statusOf } from "../servers/answer-bytes.ts";
import { hearAttempts, type Attempts, type Reopening } from "../servers/attempts.ts";
import { startWhole, type Whole } from "../servers/whole.ts";
import { median, spread } from "../statistics.ts";
import { memoryOf } from "../usage.ts";
import { newBuyers } from "./buyers.ts";

/**
 * How long buyers wait when a Redis was killed, when it comes back empty, and when the coordinator was killed; and when one
 * server that comes back empty had several shards.
 */
const ENTRY = "recover";
const MANY = "recover.many";
const MANY_SHARDS = 8;
const MANY_REDIS = 3;
/** The one that is killed: three of eight shards are on it. */
const SERVER = "redis-0";
const SALE = "recover";
const ORDERS = 100_000;
const UNITS = 1_000_000;
const CONNECTIONS = 128;
const PATIENCE_S = 60;
/** As the local launcher does by itself. */
const RESTART_AFTER_MS = 2_000;
const REOPEN_WITHIN_MS = 60_000;
const ASK_EVERY_MS = 5;

/** The stack, and what is heard of it. */
interface Ward {
  readonly whole: Whole;
  readonly attempts: Attempts;
  /** when the server was ready again, after it was killed; 0 before */
  readyAtMs: number;
}

interface Came extends Reopening {
  /** from the kill until buyers win again */
  readonly fromKillMs: number;
  /** from the restarted server's first answer until then */
  readonly fromReadyMs: number;
}

/** Buys as a buyer who never came before. @returns the status; 0 if there was no answer */
const buyer = (whole: Whole, headers = ""): Promise<number> => {
  const { keys, saleId, prefix, count } = newBuyers(whole.ticketKeys, SALE, 1);
  const [ticket = ""] = addresses({ keys, saleId, prefix, count });
  return rawAnswer(whole.port, requestText("POST", `/buy/${ticket}`, whole.host, headers)).then(statusOf, () => 0);
};

/** shards whose server is the one that is killed */
const lostShards = ({ info }: Whole): number[] => info.redis.flatMap(({ url }, shard) => (url === info.redis[0]?.url ? [shard] : []));

/** Kills a Redis server and lets it come back. @returns when it was killed */
const killRedis = async (ward: Ward, wipe: boolean): Promise<number> => {
  const { whole, attempts } = ward;
  const dir = whole.info.redis[0]?.dir;
  if (dir === null || dir === undefined) throw new Error("this Redis is not ours to kill");
  ward.readyAtMs = 0;
  attempts.forget();
  const killedAtMs = performance.now();
  whole.stack.kill(SERVER);
  if (wipe) await rm(dir, { recursive: true, force: true });
  await until(() => ward.readyAtMs > 0, "Redis to be restarted", REOPEN_WITHIN_MS, ASK_EVERY_MS);
  return killedAtMs;
};

const untilOpen = async ({ whole, attempts }: Ward): Promise<Reopening> => {
  const shards = lostShards(whole);
  let opened: Reopening | undefined;
  await until(() => (opened = attempts.reopening(shards)) !== undefined, "every shard to be open", REOPEN_WITHIN_MS, ASK_EVERY_MS);
  return opened as Reopening;
};

/** Kills the shard's Redis and asks as buyers do until one wins again. */
const killOne = async (ward: Ward, wipe: boolean): Promise<Came> => {
  const killedAtMs = await killRedis(ward, wipe);
  await until(async () => (await buyer(ward.whole)) === 202, "a buyer to win again", REOPEN_WITHIN_MS, ASK_EVERY_MS);
  const wonAtMs = performance.now();
  return { ...(await untilOpen(ward)), fromKillMs: wonAtMs - killedAtMs, fromReadyMs: wonAtMs - ward.readyAtMs };
};

/** A second coordinator beside the stack's own. */
const startSecond = async (whole: Whole): Promise<ChildProcess> => {
  const { info } = whole;
  const child = tracked(
    spawn(process.execPath, [fileURLToPath(new URL("../../coordinator/main.js", import.meta.url))], {
      stdio: ["pipe", "pipe", "ignore"],
      env: {
        PATH: "/usr/bin:/bin",
        REDIS_SHARDS: info.redisShards,
        NATS_URL: info.nats.url,
        ...(info.nats.user === null ? {} : { NATS_USER: info.nats.user }),
        ...(info.nats.pass === null ? {} : { NATS_PASSWORD: info.nats.pass }),
        DOORBUSTER_COORDINATOR_PORT: "0",
        DOORBUSTER_COORDINATOR_METRICS_PORT: "0",
        DOORBUSTER_EXIT_WITH_PARENT: "true",
      },
    }),
  );
  // It says that it serves before it looks for leases; from then on it tries for them.
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once("data", () => resolve());
    void exitOf(child).then((how) => reject(new Error(`the second coordinator ended: ${how}`)));
  });
  await delay(1_000);
  return child;
};

/** Kills the coordinator that holds the lease. @returns ms until an order that was bought afterwards is stored */
const killCoordinator = async (whole: Whole): Promise<number> => {
  const second = await startSecond(whole);
  try {
    const pids = await whole.stack.pids("coordinator");
    const killedAtMs = performance.now();
    // all of them: the process below its primary goes on for some milliseconds without it, long enough to store this order
    for (const pid of pids) signal(pid, "SIGKILL");
    const status = await buyer(whole, "Prefer: wait=30\r\n");
    if (status !== 201 && status !== 200) throw new Error(`the order bought without a coordinator was answered ${status}`);
    return performance.now() - killedAtMs;
  } finally {
    second.kill("SIGKILL");
    await whole.stack.ready();
  }
};

const fill = async (whole: Whole): Promise<void> => {
  await whole.openSale(SALE, UNITS);
  const requests = newBuyers(whole.ticketKeys, SALE, ORDERS);
  const load = { host: whole.host, port: whole.port, requests, connections: CONNECTIONS, pipelining: 1, seconds: PATIENCE_S };
  await generate(orderOf(load, 0), {});
  await whole.untilSold(SALE, ORDERS);
};

const rounded = (ms: number): number => Math.round(ms);
const perSecond = ({ orders, rebuildMs }: Reopening): number => orders / (rebuildMs / 1_000);
const COUNT = ORDERS.toLocaleString("en-US");
const NOTES = [
  `the local launcher starts a dead server again after ${RESTART_AFTER_MS} ms, and Redis then reads its file: both are in "after kill" and not in "after ready"`,
  `waitMs: a server without its data is not known as itself, so one lifetime of the permission passes before it is written anew, in which another server must stop; it is a fixed time, in what a rebuild took after "ready", and not in its rate`,
];

const measureOne = async (bench: Bench, ward: Ward): Promise<Entry> => {
  const { whole } = ward;
  bench.step(`${COUNT} orders`);
  await fill(whole);
  bench.step("Redis is killed");
  const kept = await killOne(ward, false);
  bench.goOn();
  bench.step("Redis is killed and its folder removed");
  const rebuilt = await killOne(ward, true);
  bench.goOn();
  bench.step("the coordinator is killed");
  const takeOverMs = await killCoordinator(whole);
  return entryOf({
    what: `a shard with ${COUNT} orders: Redis killed, Redis killed and wiped, coordinator killed; rate: orders put back, while they are`,
    unit: "orders rebuilt",
    perSecond: perSecond(rebuilt),
    generator: "one buyer after the other, 5 ms apart",
    numbers: {
      reopenedAfterReadyMs: rounded(kept.fromReadyMs),
      reopenedAfterKillMs: rounded(kept.fromKillMs),
      rebuiltAfterReadyMs: rounded(rebuilt.fromReadyMs),
      rebuiltAfterKillMs: rounded(rebuilt.fromKillMs),
      waitMs: rounded(rebuilt.waitMs),
      rebuildMs: rounded(rebuilt.rebuildMs),
      storedAfterCoordinatorKillMs: rounded(takeOverMs),
    },
    notes: [...NOTES, "a coordinator's lease lives 3 s; selling goes on meanwhile, what was sold is stored afterwards"],
    memoryBytes: await memoryOf(await whole.watched()),
  });
};

/** Kills one server of several with its data, again and again. */
const measureMany = async (bench: Bench, ward: Ward): Promise<Entry> => {
  const { whole } = ward;
  bench.step(`${COUNT} orders on ${MANY_SHARDS} shards`);
  await fill(whole);
  const lost = lostShards(whole).length;
  const all: Came[] = [];
  for (let run = 1; run <= bench.runs; run += 1) {
    bench.goOn();
    bench.step(`a Redis with ${lost} shards is killed and its folder removed, ${run} of ${bench.runs}`);
    const killedAtMs = await killRedis(ward, true);
    const reopening = await untilOpen(ward);
    all.push({ ...reopening, fromKillMs: reopening.openAtMs - killedAtMs, fromReadyMs: reopening.openAtMs - ward.readyAtMs });
  }
  const middle = (of: (came: Came) => number): number => median(all.map((came) => of(came)));
  const rates = all.map((came) => perSecond(came));
  return entryOf({
    what: `${COUNT} orders on ${MANY_SHARDS} shards and ${MANY_REDIS} Redis servers: one server killed and wiped, until all its shards are open; rate: orders put back, while they are`,
    unit: "orders rebuilt",
    perSecond: median(rates),
    spread: spread(rates),
    runs: rates.map((rate) => ({ perSecond: rate, referencePerSecond: null, cpuMicros: null, referenceCpuMicros: null })),
    generator: "none: what the coordinators tell of their attempts",
    numbers: {
      shardsLost: lost,
      ordersLost: rounded(middle(({ orders }) => orders)),
      allOpenAfterReadyMs: rounded(middle(({ fromReadyMs }) => fromReadyMs)),
      allOpenAfterKillMs: rounded(middle(({ fromKillMs }) => fromKillMs)),
      waitMs: rounded(middle(({ waitMs }) => waitMs)),
      rebuildMs: rounded(middle(({ rebuildMs }) => rebuildMs)),
    },
    notes: [...NOTES, "a process of the workers rebuilds two shards at a time"],
    memoryBytes: await memoryOf(await whole.watched()),
  });
};

/** Measures on a stack of its own. */
const onStack = async (
  bench: Bench,
  servers: { readonly shards: number; readonly redis: number },
  measure: (bench: Bench, ward: Ward) => Promise<Entry>,
): Promise<Entry> => {
  const heard = { readyAtMs: 0 };
  const whole = await startWhole(bench, {
    ...servers,
    restartAfterMs: RESTART_AFTER_MS,
    onEvent: (event) => {
      if (event.kind === "restarted" && event.part === SERVER) heard.readyAtMs = performance.now();
    },
  });
  try {
    const attempts = await hearAttempts(whole.info);
    try {
      return await measure(bench, Object.assign(heard, { whole, attempts }));
    } finally {
      await attempts.stop();
    }
  } finally {
    await whole.stop();
  }
};

export const recover: Scenario = {
  entries: [ENTRY, MANY],
  run: async (bench, entries) => {
    if (bench.wants(ENTRY)) entries[ENTRY] = await onStack(bench, { shards: 1, redis: 1 }, measureOne);
    if (bench.wants(MANY)) entries[MANY] = await onStack(bench, { shards: MANY_SHARDS, redis: MANY_REDIS }, measureMany);
  },
};
