import type { Redis } from "ioredis";
import type { JetStreamManager, NatsConnection } from "nats";
import { connectNats, connectShard } from "#program";
import { decodeLogRecord, logSubject, LOG_STREAM, type LogRecord } from "#protocol";
import { defineSale, Decision, grant, reserve, shardState, type Reservation, type Reserved, type ShardState } from "#lua";
import { connectDatabase, ensureShards, type Database } from "../../workers/index.ts";
import {
  freshDatabase,
  givenSale,
  startNats,
  startRedis,
  until,
  type NatsServer,
  type RedisServer,
  type TestNatsOptions,
} from "./index.ts";
import { silent, startCoordinatorWorld, type CoordinatorWorld, type CoordinatorWorldOptions } from "./coordinator-world.ts";
import { startWorkerWorld, type WorkerWorld } from "./worker-world.ts";

interface ShardStores {
  readonly shard: number;
  readonly redis: Redis;
  readonly database: Database;
  readonly manager: JetStreamManager;
}

interface Logged {
  readonly seq: number;
  readonly message: LogRecord | undefined;
}

/** What tests do to the shard's stores, and read in them. */
interface ShardCalls {
  state(): Promise<ShardState>;
  isOpen(): Promise<boolean>;
  /** resolves when the shard sells in an epoch of at least this number */
  untilOpen(epoch?: number): Promise<ShardState>;
  /** puts a sale with units on the shard, through an open shard */
  openSale(saleId: string, units: number, limit?: number): Promise<void>;
  /** one batch of packed purchases; @returns the winners' reservations */
  buy(saleId: string, uids: readonly string[]): Promise<Reservation[]>;
  reserve(saleId: string, uids: readonly string[]): Promise<Reserved>;
  /** every order in Postgres, as `uid epoch-seq-index state` */
  orders(): Promise<string[]>;
  /** resolves when Postgres has an order of each of these buyers and the outbox is empty */
  untilApplied(uids: readonly string[]): Promise<void>;
  /** what the log holds, in order */
  logged(): Promise<Logged[]>;
}

/**
 * One shard on real servers with a worker beside it, in this process; coordinators as the test wants. Starts a Redis and a NATS, and
 * copies the migrated database: about a second. `stop` ends coordinators, worker and servers, and drops the database.
 */
export interface ShardWorld extends ShardStores, ShardCalls {
  readonly server: RedisServer;
  readonly nats: NatsServer;
  readonly worker: WorkerWorld;
  connect(): Promise<NatsConnection>;
  coordinator(options?: Partial<CoordinatorWorldOptions>): Promise<CoordinatorWorld>;
  stop(): Promise<void>;
}

const LEASE_MS = 900;
const OPEN_MS = 5_000;
const LOG_BYTES = 64 << 20;
const OUTBOX_LIMIT = 100_000;
const YEAR_MS = 365 * 86_400_000;

export const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${prefix}${index}`);

const ordersOf = async ({ database }: ShardStores): Promise<string[]> => {
  const { rows } = await database.sql("SELECT uid, epoch, seq, idx, state FROM orders ORDER BY epoch, seq, idx");
  return rows.map(
    (row) => `${String(row["uid"])} ${Number(row["epoch"])}-${Number(row["seq"])}-${Number(row["idx"])} ${String(row["state"])}`,
  );
};

const loggedOf = async ({ shard, manager }: ShardStores): Promise<Logged[]> => {
  const { state: stream } = await manager.streams.info(LOG_STREAM);
  const found: Logged[] = [];
  for (let seq = Math.max(stream.first_seq, 1); seq <= stream.last_seq; seq += 1) {
    const stored = await manager.streams.getMessage(LOG_STREAM, { seq }).catch(() => undefined);
    if (stored?.subject === logSubject(shard)) found.push({ seq, message: decodeLogRecord(stored.data) });
  }
  return found;
};

const openSale = async ({ shard, redis, database }: ShardStores, saleId: string, units: number, limit = 1): Promise<void> => {
  const closesAtMs = Date.now() + YEAR_MS;
  await givenSale(database.sql, { id: saleId, totalUnits: units, closesAtMs, limitPerBuyer: limit, shards: [{ shard }] });
  await database.sql("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES (?, 'opening', ?, ?, 'opening')", [saleId, shard, units]);
  const { epoch } = await shardState(redis, { shard });
  await defineSale(redis, { shard, epoch, saleId, version: 1, state: "open", limit, opensAtMs: 0, closesAtMs });
  await grant(redis, { shard, epoch, saleId, grantId: "opening", units });
};

const callsOf = (stores: ShardStores): ShardCalls => {
  const { shard, redis } = stores;
  const state = (): Promise<ShardState> => shardState(redis, { shard });
  const stateIfThere = async (): Promise<ShardState | undefined> => await state().catch(() => undefined);
  const reserveBatch = (saleId: string, uids: readonly string[]): Promise<Reserved> =>
    reserve(redis, { shard, saleId, outboxLimit: OUTBOX_LIMIT, purchases: uids });
  const orders = (): Promise<string[]> => ordersOf(stores);

  return {
    state,
    isOpen: async () => (await stateIfThere())?.isOpen === true,
    untilOpen: async (epoch = 1) => {
      let seen: ShardState | undefined;
      await until(
        async () => {
          seen = await stateIfThere();
          return seen?.isOpen === true && seen.epoch >= epoch;
        },
        `the shard to open in epoch ${epoch}`,
        30_000,
      );
      return seen as ShardState;
    },
    openSale: (saleId, units, limit) => openSale(stores, saleId, units, limit),
    reserve: reserveBatch,
    buy: async (saleId, uids) => {
      const answer = await reserveBatch(saleId, uids);
      if (answer.status !== "ok") throw new Error(`reserve: ${answer.status}`);
      return answer.decisions.map(({ decision, reservation }) => {
        if (reservation === undefined || (decision !== Decision.won && decision !== Decision.reserved && decision !== Decision.confirmed))
          throw new Error(`reserve: ${decision}`);
        return reservation;
      });
    },
    orders,
    untilApplied: async (uids) => {
      await until(
        async () => {
          const applied = new Set((await orders()).map((order) => order.split(" ")[0]));
          return uids.every((uid) => applied.has(uid)) && (await stateIfThere())?.outboxLength === 0;
        },
        `orders of ${uids.length} buyers and an empty outbox`,
        30_000,
      );
    },
    logged: () => loggedOf(stores),
  };
};

/** @param broker how the broker is set up, where that is what is tested */
export const startShardWorld = async (broker: TestNatsOptions = {}): Promise<ShardWorld> => {
  const shard = 0;
  const [server, nats, testDatabase] = await Promise.all([startRedis(), startNats(broker), freshDatabase()]);
  const redis = connectShard(server.url, shard, { name: "test", log: silent, commandTimeoutMs: 2_000 });
  const database = await connectDatabase({ url: testDatabase.url, pool: 4, name: "test" });
  await ensureShards(database.sql, 1);
  const connections: NatsConnection[] = [];
  const coordinators: CoordinatorWorld[] = [];
  const connect = async (): Promise<NatsConnection> => {
    const connection = await connectNats({ NATS_URL: nats.url, NATS_USER: nats.user, NATS_PASSWORD: nats.pass }, "test");
    connections.push(connection);
    return connection;
  };
  const connection = await connect();
  const manager = await connection.jetstreamManager({ checkAPI: false });
  const worker = await startWorkerWorld({ shard, connection, redis, database });
  worker.startApplier();
  worker.startAnswers();

  const world: ShardWorld = {
    shard,
    server,
    nats,
    redis,
    database,
    worker,
    manager,
    connect,
    coordinator: async (options = {}) => {
      const coordinator = await startCoordinatorWorld({
        redisUrl: server.url,
        connection: await connect(),
        leaseMs: LEASE_MS,
        openMs: OPEN_MS,
        maxBytes: LOG_BYTES,
        ...options,
      });
      coordinators.push(coordinator);
      return coordinator;
    },
    ...callsOf({ shard, redis, database, manager }),
    stop: async () => {
      await Promise.all(coordinators.map((coordinator) => coordinator.stop()));
      await worker.stopApplier();
      await worker.stopAnswers();
      redis.disconnect();
      await Promise.all(connections.map((each) => each.close()));
      await database.close();
      await Promise.all([server.stop(), nats.stop(), testDatabase.drop()]);
    },
  };
  return world;
};
