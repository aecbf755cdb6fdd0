import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { AckPolicy, nanos, type JetStreamManager, type NatsConnection } from "nats";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { freePort, processTree } from "../deploy/local/index.ts";
import { connectNats } from "#program";
import { encodeLogRecord, LOG_STREAM, LOG_SUBJECTS, logSubject, requests } from "#protocol";
import { shardKeys } from "#lua";
import {
  freshDatabase,
  givenSale,
  startNats,
  startRedis,
  until,
  type NatsServer,
  type RedisServer,
  type TestDatabase,
} from "../test/harness/index.ts";
import { openEmptyShard } from "../test/harness/open-shard.ts";
import { connectDatabase, type Database } from "./db/database.ts";

const MAIN = fileURLToPath(new URL("../dist/workers/main.js", import.meta.url));
const SHARDS = 5;
const MESSAGES = 150;
const ORDERS = 40;

let redisServer: RedisServer;
let nats: NatsServer;
let redis: Redis;
let empty: TestDatabase;
let database: Database;
let connection: NatsConnection;
let manager: JetStreamManager;
let program: ChildProcess;
let port: number;
/** every test has a shard of its own; all are in the one Redis */
let shard = -1;

beforeAll(async () => {
  [redisServer, nats] = await Promise.all([startRedis(), startNats()]);
  redis = new Redis(redisServer.url);
  connection = await connectNats({ NATS_URL: nats.url, NATS_USER: nats.user, NATS_PASSWORD: nats.pass }, "main-test");
  manager = await connection.jetstreamManager();
  await manager.streams.add({ name: LOG_STREAM, subjects: [LOG_SUBJECTS], max_bytes: 64 << 20 });
  empty = await freshDatabase();
  database = await connectDatabase({ url: empty.url, pool: 2, name: "main-test" });
  port = await freePort();
  program = start();
  await bothReady();
});
afterAll(async () => {
  program.kill("SIGTERM");
  if (program.exitCode === null && program.signalCode === null) await once(program, "exit");
  await database.close();
  await empty.drop();
  redis.disconnect();
  await connection.close();
  await Promise.all([redisServer.stop(), nats.stop()]);
});

const start = (environment: Record<string, string> = {}): ChildProcess =>
  spawn(process.execPath, [MAIN], {
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      REDIS_SHARDS: Array(SHARDS).fill(redisServer.url).join(","),
      NATS_URL: nats.url,
      NATS_USER: nats.user,
      NATS_PASSWORD: nats.pass,
      DATABASE_URL: empty.url,
      DOORBUSTER_WORKER_PROCESSES: "2",
      DOORBUSTER_WORKERS_PORT: String(port),
      DOORBUSTER_LOG_LEVEL: "silent",
      ...environment,
    },
  });
const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`);
const children = async (): Promise<readonly number[]> => (await processTree(program.pid ?? 0)).slice(1);
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};
/** as the primary tells it; NaN if it does not */
const metric = async (name: string): Promise<number> => {
  const line = (await (await get("/metrics")).text()).split("\n").find((text) => text.startsWith(`${name} `));
  return Number(line?.slice(name.length));
};
const bothReady = () =>
  until(
    () =>
      get("/metrics")
        .then(async (response) => (await response.text()).includes("doorbuster_workers_ready 2"))
        .catch(() => false),
    "two worker processes",
    100_000,
  );
const applied = async (): Promise<number> =>
  Number((await database.sql("SELECT applied FROM shards WHERE shard = ?", [shard])).rows[0]?.["applied"]);

const fillLog = async (): Promise<void> => {
  for (let seq = 1; seq <= MESSAGES; seq += 1) {
    const purchases = Array.from({ length: ORDERS }, (_, index) => `buyer-${seq}-${index}`).join(" ");
    const entry = { kind: "o" as const, seq, saleId: `sale${shard}`, atMs: 1, count: ORDERS, purchases };
    await connection.jetstream().publish(logSubject(shard), encodeLogRecord({ type: "entries", shard, epoch: 1, entries: [entry] }));
  }
  await manager.consumers.add(LOG_STREAM, {
    durable_name: `shard-${shard}-one`,
    filter_subject: logSubject(shard),
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(10_000),
    max_ack_pending: 1,
  });
};
const expectAllOnce = async (): Promise<void> => {
  await until(async () => (await applied()) === MESSAGES, "every message applied", 50_000);
  const { rows } = await database.sql(
    "SELECT count(*) AS n, count(DISTINCT uid) AS buyers, count(*) FILTER (WHERE state = 'rejected') AS rejected FROM orders WHERE shard = ?",
    [shard],
  );
  expect(rows).toEqual([{ n: String(MESSAGES * ORDERS), buyers: String(MESSAGES * ORDERS), rejected: "0" }]);
  expect((await database.sql("SELECT sold FROM sale_shards WHERE shard = ?", [shard])).rows).toEqual([{ sold: String(MESSAGES * ORDERS) }]);
  await until(async () => (await redis.get(shardKeys(shard).applied)) === `1-${MESSAGES}`, "the last settle");
};

describe("the workers", () => {
  /** A shard in epoch 1 with a sale that everything fits in. */
  beforeEach(async () => {
    shard += 1;
    await redis.mset(shardKeys(shard).epoch, "1", shardKeys(shard).applied, "1-0");
    await database.sql("UPDATE shards SET epoch = 1 WHERE shard = ?", [shard]);
    await givenSale(database.sql, { id: `sale${shard}`, shards: [{ shard, quotaUnits: MESSAGES * ORDERS }] });
  });

  it("serve health and metrics and answer requests", async () => {
    expect((await get("/healthz")).status).toBe(200);
    expect((await get("/readyz")).status).toBe(200);
    expect((await connection.request(requests.row.subject, JSON.stringify({ shard }))).json()).toMatchObject({
      ok: true,
      value: { epoch: 1 },
    });
    await fillLog();
    await expectAllOnce();
    await until(
      async () => (await (await get("/metrics")).text()).includes(`doorbuster_worker_orders_total{shard="${shard}"} ${MESSAGES * ORDERS}`),
      "the processes' counters, added up",
    );
  });

  it("end a process that finds an invariant violated, once; every order is applied, and its successor refuses the settle", async () => {
    // an open shard whose outbox never had what the log has
    await redis.del(shardKeys(shard).epoch);
    await openEmptyShard(redis, shard);
    const restarts = await metric("doorbuster_workers_restarts");
    const pids = await children();
    await fillLog();
    await until(async () => (await applied()) === MESSAGES, "every message applied", 50_000);
    await bothReady();
    const settled = 'doorbuster_worker_invariant_violations_total{invariant="settled"}';
    await until(async () => (await metric(settled)) > 1, "a settle to be refused again", 20_000);
    expect(await redis.get(shardKeys(shard).applied)).toBe("1-0");
    // at most each of the two: the other may have found it before it heard of it
    const ended = (await metric("doorbuster_workers_restarts")) - restarts;
    expect(ended).toBeGreaterThanOrEqual(1);
    expect(ended).toBeLessThanOrEqual(pids.length);
    const after = await children();
    expect(after.filter((pid) => pids.includes(pid))).toHaveLength(pids.length - ended);
    const refused = await metric(settled);
    await until(async () => (await metric(settled)) > refused + 10, "the sweep to be refused ten times more", 20_000);
    expect(await metric("doorbuster_workers_restarts")).toBe(restarts + ended);
    expect(await children()).toEqual(after);
  }, 120_000);

  it("lose nothing when a process is killed in the middle, and replace it", async () => {
    await fillLog();
    await until(async () => (await applied()) > 20, "some messages");
    const [victim] = await children();
    const restarts = await metric("doorbuster_workers_restarts");
    process.kill(victim as number, "SIGKILL");
    await expectAllOnce();
    await until(async () => (await metric("doorbuster_workers_restarts")) === restarts + 1, "the restart to be counted");
    await bothReady();
  });

  it("go on when a process is paused in the middle, and take no harm when it wakes", async () => {
    await fillLog();
    await until(async () => (await applied()) > 20, "some messages");
    const [sleeper] = await children();
    process.kill(sleeper as number, "SIGSTOP");
    await until(async () => (await applied()) === MESSAGES, "the other process to go on", 50_000);
    process.kill(sleeper as number, "SIGCONT");
    await expectAllOnce();
  });

  it("lose nothing when their primary is killed: whoever starts it again finds the rest", async () => {
    await fillLog();
    await until(async () => (await applied()) > 20, "some messages");
    const pids = await children();
    program.kill("SIGKILL");
    await once(program, "exit");
    await until(() => pids.every((pid) => !isAlive(pid)), "the processes to follow their primary");
    program = start();
    await expectAllOnce();
  }, 120_000);
});

describe("the program", () => {
  beforeAll(bothReady, 120_000);

  it("stops on SIGTERM with nothing left", async () => {
    const pids = await children();
    program.kill("SIGTERM");
    expect(await once(program, "exit")).toEqual([0, null]);
    expect(pids.filter((pid) => isAlive(pid))).toEqual([]);
  });

  it("says everything that is wrong with its configuration, and exits 1", async () => {
    const wrong = start({ REDIS_SHARDS: "http://x", DOORBUSTER_WORKER_PROCESSES: "many", DOORBUSTER_TYPO: "1" });
    let text = "";
    wrong.stderr?.on("data", (data) => (text += String(data)));
    expect(await once(wrong, "exit")).toEqual([1, null]);
    for (const name of ["REDIS_SHARDS", "DOORBUSTER_WORKER_PROCESSES", "DOORBUSTER_TYPO"]) expect(text).toContain(name);
  });
});
