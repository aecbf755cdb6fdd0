import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { connect as connectSocket, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { connect as connectBroker } from "nats";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { saleKeys } from "#lua";
import { logSubject } from "#protocol";
import { KnownSale } from "../../gateway/index.ts";
import { allFamilies } from "../harness/metric-registries.ts";
import { environment, StackWorld, until } from "../harness/index.ts";
import { findPrometheus, startPrometheus, type Prometheus } from "../harness/prometheus.ts";
import { ProgramName, type StackInfo } from "../../deploy/local/index.ts";

/**
 * A real Prometheus scrapes a running sale, first sound and then with a fault for every alert: on the sound one none may fire,
 * then each must, about what it is about; and every panel's query must answer something.
 */
const OBSERVABILITY = new URL("../../deploy/observability/", import.meta.url);
const execute = promisify(execFile);
const found = await findPrometheus();
if ("why" in found) console.warn(`skipped: no Prometheus: ${found.why}`);

/**
 * As they ship, but for what would take minutes: `for` is a second, 15 minutes are one, 5 minutes ten seconds, and an outbox
 * stands still after 3 s.
 */
const hurried = (rules: string): string =>
  rules
    .replaceAll(/for: \S+/g, "for: 1s")
    .replaceAll("[15m]", "[1m]")
    .replaceAll("[5m]", "[10s]")
    .replace("doorbuster_outbox_still_seconds) > 30", "doorbuster_outbox_still_seconds) > 3");

interface Dashboard {
  readonly title: string;
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
}

const dashboards = async (): Promise<readonly Dashboard[]> => {
  const folder = new URL("dashboards/", OBSERVABILITY);
  const files = (await readdir(folder)).filter((file) => file.endsWith(".json"));
  return Promise.all(files.map(async (file) => JSON.parse(await readFile(new URL(file, folder), "utf8")) as Dashboard));
};

/** Which shard has which trouble. */
const BROKEN_LOG = 0;
const HALTED = 1;
const FROZEN = 2;
const LOCKED = 3;
const SHARDS = 4;

const OUTBOX_LIMIT = 60;
const SALE = "clean";
const SILENT_MS = 8_000;

/** Every alert, and what its labels must say when its fault is there. */
const EXPECTED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  DoorbusterTargetDown: { job: "doorbuster-coordinator" },
  DoorbusterNothingServes: { job: "doorbuster-workers" },
  DoorbusterScrapeIncomplete: {},
  DoorbusterProcessesDie: { job: "doorbuster-gateway" },
  DoorbusterGatewayFull: {},
  DoorbusterInvariantViolated: { job: "doorbuster-gateway", invariant: "stock" },
  DoorbusterConstraintViolated: { shard: String(BROKEN_LOG), constraint: "order_twice" },
  DoorbusterLogRecordKept: { shard: String(BROKEN_LOG) },
  DoorbusterMessageDeadLetters: {},
  DoorbusterArchiveStalled: {},
  DoorbusterShardHalted: { shard: String(HALTED) },
  DoorbusterShardClosed: { shard: String(HALTED) },
  DoorbusterShardUnattended: { shard: String(FROZEN) },
  DoorbusterEpochNotBegun: {},
  DoorbusterShardRebuilt: { shard: String(BROKEN_LOG) },
  DoorbusterOutboxStuck: { shard: String(LOCKED) },
  DoorbusterOutboxLong: { shard: String(LOCKED) },
  DoorbusterApplySlow: { shard: String(LOCKED) },
  DoorbusterRedisRefuses: { shard: String(BROKEN_LOG), error: "OOM" },
  DoorbusterSettingRefused: { setting: "maxmemory-policy" },
  DoorbusterSettingWeak: { setting: "appendfsync" },
  DoorbusterStoreFaults: { job: "doorbuster-coordinator" },
  DoorbusterErrorShare: {},
  DoorbusterDecisionsSlow: {},
  DoorbusterAddressesDoubted: { doubt: "untrusted" },
  // since the start where the build is an old one, and never where it is not
  ...(Number(process.versions.node.split(".")[0]) < 22 ? { DoorbusterParserSplits: {} } : {}),
};

describe.skipIf("why" in found)("a Prometheus beside a sale", { timeout: 240_000 }, () => {
  let world: StackWorld;
  let prometheus: Prometheus;
  let info: StackInfo;
  let buyers: Promise<void>;
  const ending = new AbortController();
  const redis: Redis[] = [];
  const sockets: Socket[] = [];
  let sql: Client;
  let bought = 0;

  /** Buyers of every shard, without end. */
  const buyOn = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      const uid = `b${(bought += 1)}`;
      void world.once("POST", world.urlOf(SALE, uid));
      await delay(10);
    }
  };
  const fired = async (): Promise<ReadonlyMap<string, readonly Readonly<Record<string, string>>[]>> => {
    const alerts = new Map<string, Readonly<Record<string, string>>[]>();
    for (const { metric } of await prometheus.query('count_over_time(ALERTS{alertstate="firing"}[10m])'))
      alerts.set(metric["alertname"] ?? "", [...(alerts.get(metric["alertname"] ?? "") ?? []), metric]);
    return alerts;
  };

  /** A sale that ends: units move to who asks for them, it is flagged, an order is cancelled. */
  const sellOut = async (): Promise<void> => {
    await world.openStocked("few", 2 * SHARDS);
    await Promise.all(Array.from({ length: 4 * SHARDS }, (_, n) => world.buy("few", `few-${n}`)));
    const [order] = await world.orders("few");
    if (order === undefined) throw new Error("nobody bought");
    await world.admin(`/orders/${order.orderId}/cancel`, { saleId: "few", uid: order.uid });
  };

  beforeAll(async () => {
    world = await StackWorld.start({
      shards: SHARDS,
      redis: SHARDS,
      environment: {
        ...environment,
        DOORBUSTER_GATEWAY_PROCESSES: "1",
        DOORBUSTER_WORKER_PROCESSES: "1",
        DOORBUSTER_OUTBOX_LIMIT: String(OUTBOX_LIMIT),
        DOORBUSTER_ARCHIVE_AFTER_MS: "1000",
        DOORBUSTER_MESSAGE_ROUNDS: "1",
        DOORBUSTER_BUYER_RATE: "1000",
      },
    });
    info = await world.stack.info();
    sql = new Client({ connectionString: info.databaseUrl });
    sql.on("error", () => undefined);
    await sql.connect();
    redis.push(...info.redis.map(({ url }) => new Redis(url).on("error", () => undefined)));
    await world.openStocked(SALE, 20_000);
    const jobs = Object.values(ProgramName).map((name) => ({ name: `doorbuster-${name}`, url: info.metrics[name] }));
    if ("why" in found) throw new Error(found.why);
    prometheus = await startPrometheus({
      program: found.program,
      // one that waits for a process that does not answer, as Prometheus does by its defaults
      jobs: [...jobs, { name: "patient", url: info.metrics.workers, everySeconds: 6, keep: ".*_scrape_complete" }],
      rules: hurried(await readFile(new URL("rules.yaml", OBSERVABILITY), "utf8")),
    });
    buyers = buyOn();
    await sellOut();
  }, 180_000);
  afterAll(async () => {
    ending.abort();
    await buyers;
    for (const socket of sockets) socket.destroy();
    for (const client of redis) client.disconnect();
    await sql?.end().catch(() => undefined);
    await prometheus?.stop();
    await world?.close();
  });

  it("knows every metric of the programs that deploy/METRICS.md has, and no other of ours", async () => {
    await until(async () => (await prometheus.query("sum(rate(doorbuster_worker_orders_total[5s])) > 0")).length > 0, "orders", 30_000);
    const page = await allFamilies();
    for (const program of Object.values(ProgramName)) {
      const text = await (await fetch(`${info.metrics[program]}/metrics`)).text();
      const shown = [...text.matchAll(/^# TYPE (doorbuster_\w+) /gm)].map(([, name]) => name as string);
      expect([...new Set(shown)].sort(), program).toEqual([...new Set(page[program].map(({ name }) => name))].sort());
      expect(shown.length, `${program}: a family once`).toBe(new Set(shown).size);
    }
  });

  it("fires no alert on a sound sale", async () => {
    await delay(SILENT_MS);
    const names = (await prometheus.query("count by (alertname) (count_over_time(ALERTS[10m]))")).map(({ metric }) => metric["alertname"]);
    expect(names.filter((name) => name !== "DoorbusterParserSplits")).toEqual([]);
  });

  /** The process below a program's primary. */
  const processOf = async (program: ProgramName): Promise<number> => {
    let child: number | undefined;
    await until(async () => ([, child] = await world.stack.pids(program))[1] !== undefined, `a process of ${program}`);
    return child as unknown as number;
  };
  /** stopped for so long */
  const freeze = async (pid: number, ms: number): Promise<void> => {
    process.kill(pid, "SIGSTOP");
    await delay(ms);
    process.kill(pid, "SIGCONT");
  };
  const hasFired = async (name: string): Promise<boolean> => {
    const wanted = Object.entries(EXPECTED[name] ?? {});
    return ((await fired()).get(name) ?? []).some((labels) => wanted.every(([label, value]) => labels[label] === value));
  };
  const untilFired = (name: string): Promise<void> => until(() => hasFired(name), `${name} to fire`, 40_000);

  const repeatUntilFired = async (name: string, fault: () => Promise<unknown>): Promise<void> => {
    const isOver = new AbortController();
    const waiting = untilFired(name).finally(() => isOver.abort());
    while (!isOver.signal.aborted) await fault();
    await waiting;
  };

  const freezeUntilFired = async (program: ProgramName, name: string): Promise<void> => {
    const pid = await processOf(program);
    process.kill(pid, "SIGSTOP");
    await untilFired(name).finally(() => process.kill(pid, "SIGCONT"));
  };

  /** A log that cannot be read, an order that is there already, a forged stock; and at last no room in Redis. */
  const breakLog = async (): Promise<void> => {
    const broker = await connectBroker({ servers: info.nats.url, user: info.nats.user ?? "", pass: info.nats.pass ?? "" });
    broker.publish(logSubject(BROKEN_LOG), Buffer.from("no record of ours"));
    await broker.drain();
    await untilFired("DoorbusterLogRecordKept");
    const known = new KnownSale(await world.record(SALE));
    const uid = Array.from({ length: 100 }, (_, n) => `twice-${n}`).find((name) => known.shardOf(name) === BROKEN_LOG) as string;
    await sql.query(
      `INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reserved_at_ms)
       VALUES ($1, $2, '', $3, 1, 900000, 0, 1, 'pending_payment', 0)`,
      [SALE, uid, BROKEN_LOG],
    );
    await world.once("POST", world.urlOf(SALE, uid));
    await untilFired("DoorbusterConstraintViolated");
    await untilFired("DoorbusterShardRebuilt");
    await untilFired("DoorbusterSettingWeak");
    const { sale } = saleKeys(BROKEN_LOG, SALE);
    const left = (await redis[BROKEN_LOG]?.hget(sale, "left")) as string;
    await redis[BROKEN_LOG]?.hset(sale, "left", "-1");
    await untilFired("DoorbusterInvariantViolated");
    await redis[BROKEN_LOG]?.hset(sale, "left", left);
    await redis[BROKEN_LOG]?.config("SET", "maxmemory", "1mb");
    await untilFired("DoorbusterRedisRefuses");
    await redis[BROKEN_LOG]?.config("SET", "maxmemory", "0");
    await redis[BROKEN_LOG]?.config("SET", "maxmemory-policy", "allkeys-lru");
    await untilFired("DoorbusterSettingRefused");
  };
  /** Its row is locked by somebody, so nothing of its log is applied; then again and again for a moment; then it is a replica. */
  const lockRow = async (): Promise<void> => {
    const other = new Client({ connectionString: info.databaseUrl });
    await other.connect();
    const locked = async (during: () => Promise<unknown>): Promise<void> => {
      await other.query("BEGIN");
      await other.query("SELECT * FROM shards WHERE shard = $1 FOR UPDATE", [LOCKED]);
      await during();
      await other.query("ROLLBACK");
    };
    await locked(() => Promise.all([untilFired("DoorbusterOutboxStuck"), untilFired("DoorbusterOutboxLong")]));
    await repeatUntilFired("DoorbusterApplySlow", () => locked(() => delay(1_000)));
    await other.end();
    await redis[LOCKED]?.replicaof("127.0.0.1", "1");
    await untilFired("DoorbusterEpochNotBegun");
    await redis[LOCKED]?.replicaof("NO", "ONE");
  };
  /** A worker that applies something takes the halt away: until the shard is closed it is said again. */
  const halt = (): Promise<void> =>
    repeatUntilFired("DoorbusterShardHalted", async () => {
      await sql.query("UPDATE shards SET halted = 'an example' WHERE shard = $1", [HALTED]);
      await delay(50);
    });
  /** It answers nothing; then it answers by fits and starts. */
  const freezeRedis = async (): Promise<void> => {
    const pid = info.redis[FROZEN]?.pid as number;
    process.kill(pid, "SIGSTOP");
    await Promise.all([untilFired("DoorbusterShardUnattended"), untilFired("DoorbusterStoreFaults")]);
    process.kill(pid, "SIGCONT");
    await repeatUntilFired("DoorbusterDecisionsSlow", () => freeze(pid, 200).then(() => delay(50)));
  };
  /** A dead letter: nobody listens there. */
  const sendMessage = async (): Promise<void> => {
    const answer = await fetch(`${info.coordinator}/api/dtmsvr/submit`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        gid: "dead-letter",
        trans_type: "msg",
        steps: [{ action: "http://127.0.0.1:1/branch" }],
        payloads: ["{}"],
        retry_interval: 1,
      }),
    });
    if (!answer.ok) throw new Error(await answer.text());
  };
  /** As many connections as a process has descriptors. */
  const fill = async (): Promise<void> => {
    const pid = await processOf(ProgramName.gateway);
    await execute("prlimit", ["--pid", String(pid), "--nofile=300:300"]);
    const { hostname, port } = new URL(info.gateway);
    for (let n = 0; n < 320; n += 1) sockets.push(connectSocket(Number(port), hostname).on("error", () => undefined));
    await untilFired("DoorbusterGatewayFull");
    for (const socket of sockets) socket.destroy();
  };

  it("fires each alert when its fault is there", async () => {
    const now = Date.now();
    await world.openSale("old", 4, { opensAtMs: now - 10_000, closesAtMs: now + 2_000 });
    await redis[BROKEN_LOG]?.config("SET", "appendfsync", "everysec");
    await world.once("GET", `${info.gateway}/healthz`, { "x-forwarded-for": "203.0.113.9" });
    await sendMessage();
    await Promise.all([breakLog(), lockRow(), freezeRedis(), halt()]);
    await Promise.all([
      fill(),
      freezeUntilFired(ProgramName.coordinator, "DoorbusterTargetDown"),
      freezeUntilFired(ProgramName.workers, "DoorbusterScrapeIncomplete"),
    ]);
    await repeatUntilFired("DoorbusterNothingServes", async () => process.kill(await processOf(ProgramName.workers), "SIGKILL"));
    await Promise.all(Object.keys(EXPECTED).map(untilFired));
    // none is forgotten here, and none ships that has no fault here
    const shipped = (await readFile(new URL("rules.yaml", OBSERVABILITY), "utf8")).matchAll(/- alert: (\w+)/g);
    const here = [...Object.keys(EXPECTED), "DoorbusterParserSplits"];
    expect([...new Set([...shipped].map(([, name]) => String(name)))].sort()).toEqual([...new Set(here)].sort());
  });

  it("answers the query of every panel", async () => {
    const all = (await dashboards()).flatMap(({ title, panels }) =>
      panels.flatMap((panel) => panel.targets.map(({ expr }) => ({ panel: `${title}: ${panel.title}`, expr }))),
    );
    const empty = async (): Promise<readonly string[]> => {
      const answers = await Promise.all(all.map(({ expr }) => prometheus.query(expr.replaceAll("$__rate_interval", "3m"))));
      return all.flatMap(({ panel, expr }, n) => (answers[n]?.length === 0 ? [`${panel}: ${expr}`] : []));
    };
    // a worker's process that was killed is back in a moment
    await until(async () => (await empty()).length === 0, "an answer for every panel", 20_000).catch(() => undefined);
    expect(await empty()).toEqual([]);
  });
});
