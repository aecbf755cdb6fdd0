import { spawn, type ChildProcess } from "node:child_process";
import { rm } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { signal, until } from "../../deploy/local/index.ts";
import { addresses, requestText } from "../load/ammunition.ts";
import { fire } from "../load/cannon.ts";
import { exitOf, tracked } from "../load/child.ts";
import { orderOf } from "../load/send.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { rawAnswer, statusOf } from "../servers/answer-bytes.ts";
import { startWhole, type Whole } from "../servers/whole.ts";
import { memoryOf } from "../usage.ts";
import { newBuyers } from "./buyers.ts";

/** How long buyers wait when a Redis was killed, when it comes back empty, and when the coordinator was killed. */
const ENTRY = "recover";
const SALE = "recover";
const ORDERS = 100_000;
const UNITS = 1_000_000;
const CONNECTIONS = 128;
const PATIENCE_S = 60;
/** As the local launcher does by itself. */
const RESTART_AFTER_MS = 2_000;
const REOPEN_WITHIN_MS = 60_000;
const ASK_EVERY_MS = 5;

interface Came {
  /** from the kill until a new buyer won */
  readonly fromKillMs: number;
  /** from the restarted server's first answer until a new buyer won */
  readonly fromReadyMs: number;
}

/** Buys as a buyer who never came before. @returns the status; 0 if there was no answer */
const buyer = (whole: Whole, headers = ""): Promise<number> => {
  const { keys, saleId, prefix, count } = newBuyers(whole.ticketKeys, SALE, 1);
  const [ticket = ""] = addresses({ keys, saleId, prefix, count });
  return rawAnswer(whole.port, requestText("POST", `/buy/${ticket}`, whole.host, headers)).then(statusOf, () => 0);
};

/** Kills the shard's Redis and asks as buyers do until one wins again. */
const killRedis = async (whole: Whole, restarts: { atMs: number }, wipe: boolean): Promise<Came> => {
  const dir = whole.info.redis[0]?.dir;
  if (dir === null || dir === undefined) throw new Error("this Redis is not ours to kill");
  restarts.atMs = 0;
  const killedAtMs = performance.now();
  whole.stack.kill("redis-0");
  if (wipe) await rm(dir, { recursive: true, force: true });
  await until(() => restarts.atMs > 0, "Redis to be restarted", REOPEN_WITHIN_MS, ASK_EVERY_MS);
  await until(async () => (await buyer(whole)) === 202, "a buyer to win again", REOPEN_WITHIN_MS, ASK_EVERY_MS);
  const wonAtMs = performance.now();
  return { fromKillMs: wonAtMs - killedAtMs, fromReadyMs: wonAtMs - restarts.atMs };
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
  const volley = { host: whole.host, port: whole.port, requests, connections: CONNECTIONS, pipelining: 1, seconds: PATIENCE_S };
  await fire(orderOf(volley, 0), {});
  await whole.untilSold(SALE, ORDERS);
};

const measure = async (bench: Bench, whole: Whole, restarts: { atMs: number }): Promise<Entry> => {
  bench.step(`${ORDERS.toLocaleString("en-US")} orders`);
  await fill(whole);
  bench.step("Redis is killed");
  const kept = await killRedis(whole, restarts, false);
  bench.goOn();
  bench.step("Redis is killed and its folder removed");
  const rebuilt = await killRedis(whole, restarts, true);
  bench.goOn();
  bench.step("the coordinator is killed");
  const takeOverMs = await killCoordinator(whole);
  const rounded = (ms: number): number => Math.round(ms);
  return entryOf({
    what: `a shard with ${ORDERS.toLocaleString("en-US")} orders: Redis killed, Redis killed and wiped, coordinator killed; rate: orders put back by the rebuild`,
    unit: "orders rebuilt",
    perSecond: ORDERS / (rebuilt.fromReadyMs / 1_000),
    generator: "one buyer after the other, 5 ms apart",
    numbers: {
      reopenedAfterReadyMs: rounded(kept.fromReadyMs),
      reopenedAfterKillMs: rounded(kept.fromKillMs),
      rebuiltAfterReadyMs: rounded(rebuilt.fromReadyMs),
      rebuiltAfterKillMs: rounded(rebuilt.fromKillMs),
      storedAfterCoordinatorKillMs: rounded(takeOverMs),
    },
    notes: [
      `the local launcher starts a dead server again after ${RESTART_AFTER_MS} ms, and Redis then reads its file: both are in "after kill" and not in "after ready"`,
      "a coordinator's lease lives 3 s; selling goes on meanwhile, what was sold is stored afterwards",
    ],
    memoryBytes: await memoryOf(await whole.watched()),
  });
};

export const recover: Scenario = {
  entries: [ENTRY],
  run: async (bench, entries) => {
    const restarts = { atMs: 0 };
    const whole = await startWhole(bench, {
      shards: 1,
      restartAfterMs: RESTART_AFTER_MS,
      onEvent: (event) => {
        if (event.kind === "restarted" && event.part === "redis-0") restarts.atMs = performance.now();
      },
    });
    try {
      entries[ENTRY] = await measure(bench, whole, restarts);
    } finally {
      await whole.stop();
    }
  },
};
