import { Redis } from "ioredis";
import { AckPolicy, nanos, type JetStreamManager, type NatsConnection } from "nats";
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connectNats, systemClock } from "#program";
import {
  consumerHint,
  encodeLogRecord,
  formatOrderId,
  LOG_STREAM,
  LOG_SUBJECTS,
  publications,
  publicationSubject,
  logSubject,
  statusEventSchema,
  type StatusEvent,
} from "#protocol";
import { shardKeys, type Entry } from "#lua";
import {
  freshDatabase,
  givenSale,
  startNats,
  startRedis,
  until,
  type NatsServer,
  type RedisServer,
  type TestDatabase,
} from "../../test/harness/index.ts";
import { shardWorker } from "../../test/harness/worker-world.ts";
import type { Applied } from "./apply.ts";
import { connectDatabase, ensureShards, type Database } from "../db/database.ts";
import { readShard } from "../db/shard-row.ts";
import type { Worker } from "../compose.ts";
import { ShardConsumer } from "../consume/consumer.ts";

const SHARDS = 100;
let empty: TestDatabase;
let database: Database;
let redisServer: RedisServer;
let redis: Redis;
let nats: NatsServer;
let connection: NatsConnection;
let manager: JetStreamManager;
let shard = -1;

const makeStream = () => manager.streams.add({ name: LOG_STREAM, subjects: [LOG_SUBJECTS], max_bytes: 64 << 20 });
const makeConsumer = (name: string) =>
  manager.consumers.add(LOG_STREAM, {
    durable_name: `shard-${shard}-${name}`,
    filter_subject: logSubject(shard),
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(10_000),
    max_ack_pending: 1,
  });

beforeAll(async () => {
  [empty, redisServer, nats] = await Promise.all([freshDatabase(), startRedis(), startNats()]);
  database = await connectDatabase({ url: empty.url, pool: 4, name: "applier-test" });
  redis = new Redis(redisServer.url);
  connection = await connectNats({ NATS_URL: nats.url, NATS_USER: nats.user, NATS_PASSWORD: nats.pass }, "applier-test");
  manager = await connection.jetstreamManager();
  await makeStream();
  await ensureShards(database.sql, SHARDS);
});
afterAll(async () => {
  redis.disconnect();
  await connection.close();
  await Promise.all([redisServer.stop(), nats.stop(), database.close()]);
  await empty.drop();
});

/** Every test has a shard of its own in epoch 1 with a sale of 100 units; Redis knows the epoch and has an outbox. */
beforeEach(async () => {
  shard += 1;
  await database.sql("UPDATE shards SET epoch = 1 WHERE shard = ?", [shard]);
  await givenSale(database.sql, { id: `s${shard}`, shards: [{ shard, quotaUnits: 100 }] });
  await redis.mset(shardKeys(shard).epoch, "1", shardKeys(shard).applied, "1-0");
  for (let seq = 1; seq <= 9; seq += 1) await redis.xadd(shardKeys(shard).outbox, `1-${seq}`, "k", "o");
});

const order = (seq: number, ...uids: string[]): Entry => ({
  kind: "o",
  seq,
  saleId: `s${shard}`,
  atMs: 1,
  count: uids.length,
  purchases: uids.join(" "),
});
const append = async (entries: readonly Entry[]): Promise<number> =>
  (await connection.jetstream().publish(logSubject(shard), encodeLogRecord({ type: "entries", shard, epoch: 1, entries }))).seq;

interface TestApplier {
  readonly seen: Applied["kind"][];
  readonly faults: unknown[];
  readonly worker: Worker;
  stop(): Promise<void>;
}
const appliers: TestApplier[] = [];
const startApplier = (on = database): TestApplier => {
  const stop = new AbortController();
  const seen: Applied["kind"][] = [];
  const faults: unknown[] = [];
  const fault = (error: unknown): void => void faults.push(error);
  const consumer = new ShardConsumer({ connection, manager, shard, clock: systemClock, fault: () => undefined });
  const observer = {
    done: (_: unknown, applied: Applied): void => void seen.push(applied.kind),
    fault: (_: unknown, error: unknown) => fault(error),
  };
  const worker = shardWorker({ shard, connection, redis, database: on, deliveries: consumer, observer, fault });
  const running = worker.run(stop.signal);
  const applier = {
    seen,
    faults,
    worker,
    stop: async () => {
      stop.abort();
      await running;
    },
  };
  appliers.push(applier);
  return applier;
};
const stopAppliers = async (): Promise<void> => {
  await Promise.all(appliers.splice(0).map((applier) => applier.stop()));
};

const listen = (): StatusEvent[] => {
  const events: StatusEvent[] = [];
  connection.subscribe(publicationSubject(publications.status, shard), {
    callback: (_, message) => void events.push(statusEventSchema.parse(message.json())),
  });
  return events;
};
const row = () => readShard(database.em(), shard);
const untilApplied = (applied: number) => until(async () => (await row()).applied === applied, `shard ${shard} at ${applied}`);
const unacked = async (name: string) => {
  const info = await manager.consumers.info(LOG_STREAM, `shard-${shard}-${name}`);
  return info.num_ack_pending + info.num_pending;
};

describe("an applier", () => {
  it("applies messages in order, acks, settles and tells", async () => {
    const events = listen();
    await makeConsumer("one");
    startApplier();
    await append([order(1, "ann", "bob")]);
    await append([order(2, "cid")]);
    await untilApplied(2);
    await until(async () => (await unacked("one")) === 0, "both acks");
    await until(async () => (await redis.get(shardKeys(shard).applied)) === "1-2", "the settle");
    expect(await redis.xlen(shardKeys(shard).outbox)).toBe(7);
    await until(() => events.length === 2, "both events");
    expect(events[0]).toEqual({ shard, epoch: 1, applied: 1, orders: [[1, `s${shard}`, "ann bob"]], rejected: [] });
    await stopAppliers();
  });

  it("tells again, without orders, when a message was applied before", async () => {
    await makeConsumer("one");
    await append([order(1, "ann")]);
    await append([order(1, "ann"), order(2, "bob")]);
    await append([order(1, "ann")]);
    const events = listen();
    const applier = startApplier();
    await until(() => events.length === 3, "an event for the repeat, too");
    expect(applier.seen).toEqual(["applied", "applied", "repeated"]);
    expect(events[1]).toEqual({ shard, epoch: 1, applied: 2, orders: [[2, `s${shard}`, "bob"]], rejected: [] });
    expect(events[2]).toEqual({ shard, epoch: 1, applied: 2, orders: [], rejected: [] });
    await stopAppliers();
  });

  it("does not settle after a wall, and names every refused order until the rebuild", async () => {
    await makeConsumer("one");
    const events = listen();
    startApplier();
    await append([order(1, "ann", "ann")]);
    await append([order(2, "bob")]);
    await until(() => events.length === 2, "both events");
    const refused = [formatOrderId({ shard, epoch: 1, seq: 1, index: 1 }), expect.any(String)];
    expect(events.map((event) => event.rejected)).toEqual([[refused], [refused]]);
    await stopAppliers();
    expect(await redis.get(shardKeys(shard).applied)).toBe("1-0");
  });

  it("acks a gap and a poison message, and goes on when the entries come again", async () => {
    await makeConsumer("one");
    const applier = startApplier();
    await append([order(2, "bob")]);
    await connection.jetstream().publish(logSubject(shard), "poison");
    await append([order(1, "ann"), order(2, "bob")]);
    await untilApplied(2);
    expect(applier.seen).toEqual(["gap", "unreadable", "applied"]);
    await until(async () => (await unacked("one")) === 0, "all acks");
    await stopAppliers();
  });

  it("neither acks nor skips what cannot be applied", async () => {
    await makeConsumer("one");
    const applier = startApplier();
    await append([{ ...order(1, "ann"), saleId: "nowhere" }]);
    await append([order(2, "bob")]);
    await until(() => applier.seen.length === 1, "the halt");
    expect(applier.seen).toEqual(["halted"]);
    expect(await unacked("one")).toBe(2);
    await givenSale(database.sql, { id: "nowhere", shards: [{ shard, quotaUnits: 1 }] });
    await untilApplied(2);
    expect((await row()).halted).toBeNull();
    await stopAppliers();
  });

  it("shares its shard with another process's applier: each message is applied once", async () => {
    await makeConsumer("one");
    const both = [startApplier(), startApplier()];
    for (let seq = 1; seq <= 9; seq += 1) await append([order(seq, `u${seq}`)]);
    await untilApplied(9);
    await stopAppliers();
    expect(both.flatMap((applier) => applier.seen)).toEqual(Array(9).fill("applied"));
  });
});

describe("a consumer", () => {
  it("that is not there yet is found when it is made", async () => {
    startApplier();
    await append([order(1, "ann")]);
    await makeConsumer("late");
    connection.publish(consumerHint(shard));
    await untilApplied(1);
    await stopAppliers();
  });

  it("that is deleted is replaced by the newest, without a hint", async () => {
    await makeConsumer("one");
    startApplier();
    await append([order(1, "ann")]);
    await untilApplied(1);
    await makeConsumer("two");
    await manager.consumers.delete(LOG_STREAM, `shard-${shard}-one`);
    await append([order(2, "bob")]);
    await untilApplied(2);
    await until(async () => (await unacked("two")) === 0, "all acks at the new consumer");
    await stopAppliers();
  });

  it("is used again after the broker was killed", async () => {
    await makeConsumer("one");
    const applier = startApplier();
    await append([order(1, "ann")]);
    await untilApplied(1);
    await nats.kill();
    await nats.start();
    await until(
      () =>
        append([order(2, "bob")]).then(
          () => true,
          () => false,
        ),
      "the broker",
    );
    applier.worker.reconnected();
    await untilApplied(2);
    await stopAppliers();
  });
});

describe("Postgres away", () => {
  const setConnections = async (allowed: boolean): Promise<void> => {
    const name = new URL(empty.url).pathname.slice(1);
    const url = new URL(empty.url);
    url.pathname = "/postgres";
    const client = new Client({ connectionString: url.href });
    await client.connect();
    await client.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS ${allowed}`);
    if (!allowed) await client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", [name]);
    await client.end();
  };

  it("is waited for without an ack, and nothing is lost", async () => {
    await makeConsumer("one");
    const applier = startApplier();
    await append([order(1, "ann")]);
    await untilApplied(1);
    await setConnections(false);
    await append([order(2, "bob")]);
    await until(() => applier.faults.length >= 3, "some tries");
    expect(await unacked("one")).toBe(1);
    await setConnections(true);
    await untilApplied(2);
    await stopAppliers();
  });

  it("does not keep an applier from stopping; the message is another's at once", async () => {
    await makeConsumer("one");
    const applier = startApplier();
    await append([order(1, "ann")]);
    await untilApplied(1);
    await setConnections(false);
    await append([order(2, "bob")]);
    await until(() => applier.faults.length >= 1, "a try");
    startApplier();
    await until(async () => (await manager.consumers.info(LOG_STREAM, `shard-${shard}-one`)).num_waiting === 2, "the other's request");
    await applier.stop();
    await setConnections(true);
    await untilApplied(2);
    await stopAppliers();
  });
});
