import { RequestError, type RestoreRequest } from "#protocol/requests";
import type { Restored } from "../../../coordinator/shards/shard-ports.ts";
import type { Delivery } from "../../../workers/apply/delivery.ts";
import { TRUSTED_MS } from "../../../workers/apply/known.ts";
import { composeWorker, type ShardPorts, type WorkerObserver, type WorkerPolicy, type WorkerPorts } from "../../../workers/compose.ts";
import type { OrdersPorts } from "../../../workers/orders/commands.ts";
import type { RestoreTarget } from "../../../workers/restore/restore-ports.ts";
import { RestoreEnd } from "../../../workers/restore/restore.ts";
import type { ArchivePorts } from "../../../workers/sales/archive.ts";
import type { Options } from "../options.ts";
import type { SweepShards } from "../../../workers/sales/sweep-ports.ts";
import type { Life, Program } from "../kernel/process.ts";
import { op, Wire } from "../kernel/wire.ts";
import { applyStoreOf } from "../postgres/apply-store.ts";
import { archiveStoreOf } from "../postgres/archive-store.ts";
import { restoreSourceOf, sweepStoreOf } from "../postgres/stores.ts";
import {
  archiveSale,
  defineSale,
  grant,
  settle,
  shardState,
  stageBuyers,
  stageGrants,
  stageSale,
  stock,
  swapShard,
} from "../redis/index.ts";
import type { World } from "../world.ts";
import { deliveriesOf } from "./log-ports.ts";
import { RedisWire } from "./redis-ports.ts";

const STATEMENT_MS = 5_000;

const SETTLE = op("redis settle");
const DEFINE = op("redis sale");
const GRANT = op("redis grant");
const STAGE = op("redis stage");
const LIST = op("redis list sales");
const SWAP = op("redis swap");
const DROP = op("redis archive");
const LOOK = op("redis stock for a worker");
const LOOK_STATE = op("redis state for a worker");
const BUCKET = op("bucket");

/** What one shard's applier sees: the message that is being applied is known to its faulty twins. */
const shardPortsOf = (world: World, life: Life, shard: number, redis: RedisWire): ShardPorts => {
  const { twins } = world;
  const deliveries = deliveriesOf(world, life, shard);
  const store = applyStoreOf(world.postgres, new Wire(life, world, () => world.postgres, STATEMENT_MS));
  let current: Delivery | undefined;
  return {
    shard,
    deliveries: {
      ...deliveries,
      next: async (stop) => {
        const handedOut = await deliveries.next(stop);
        current = handedOut === undefined ? undefined : (twins.delivery?.(handedOut) ?? handedOut);
        return current;
      },
    },
    store:
      twins.applyStore === undefined
        ? store
        : {
            transaction: (of, work) =>
              (current === undefined ? store : (twins.applyStore?.(store, current) ?? store)).transaction(of, work),
          },
    settle: (position) => redis.run(SETTLE, (server) => settle(server, position)),
  };
};

const sweepShardsOf = (world: World, redis: readonly RedisWire[]): SweepShards => {
  const of = (shard: number): RedisWire => redis[shard] as RedisWire;
  return {
    defineSale: (sale) => of(sale.shard).run(DEFINE, (server) => defineSale(server, sale)),
    grant: (sent) =>
      of(sent.shard).run(GRANT, (server) => {
        const answer = grant(server, sent);
        world.say(() => `grant ${sent.grantId} of ${sent.units} to shard ${sent.shard} in ${sent.epoch}: ${answer.status}`);
        return answer;
      }),
    settle: (position) => of(position.shard).run(SETTLE, (server) => settle(server, position)),
    drop: (sale) =>
      of(sale.shard).run(DROP, (server) => {
        const answer = archiveSale(server, sale);
        world.say(() => `archive ${sale.saleId} on shard ${sale.shard} in ${sale.epoch}: ${answer.status}`);
        return answer;
      }),
  };
};

const archiveOf = (world: World, statements: Wire, redis: readonly RedisWire[]): ArchivePorts => {
  const of = (shard: number): RedisWire => redis[shard] as RedisWire;
  return {
    store: archiveStoreOf(world.postgres, statements),
    shards: {
      stock: (shard, saleId) => of(shard).run(LOOK, (server) => stock(server, saleId)),
      state: (shard) => of(shard).run(LOOK_STATE, shardState),
    },
  };
};

/** What workers/sales/bucket.ts does: the bucket holds what Postgres holds, but for archived sales. */
const convergeBucket = ({ postgres, bucket }: World): void => {
  for (const [saleId, sale] of postgres.sales) {
    if (postgres.rules.bucketArchived && sale.archived) bucket.delete(saleId);
    else if (bucket.get(saleId)?.version !== sale.record.version) bucket.set(saleId, postgres.recordOf(sale));
  }
};

const targetOf = (world: World, life: Life, redis: RedisWire, request: RestoreRequest): RestoreTarget => {
  const { attempt, replicationId, epoch } = request;
  return {
    stageBuyers: (saleId, fields) => redis.run(STAGE, (server) => stageBuyers(server, attempt, saleId, fields)),
    stageGrants: (saleId, ids) => redis.run(STAGE, (server) => stageGrants(server, attempt, saleId, ids)),
    stageSale: (sale, { moves, movedAt }) => redis.run(STAGE, (server) => stageSale(server, attempt, sale, moves, movedAt)),
    listSales: () => redis.run(LIST, ({ data }) => [...data.sales.keys()]),
    swap: ({ sales, dropped }) =>
      redis.run(SWAP, (server) => {
        const swapped = swapShard(server, { attempt, replicationId, toEpoch: epoch, sales, dropped });
        world.say(() => `${life.process.name} swap ${epoch} ${swapped.status}`);
        return swapped;
      }),
  };
};

/** Sales of a schedule have no time to pay within: the loop only turns. */
const IDLE_MS = 60_000;
const nothing = (): void => undefined;
const unasked = (): Promise<never> => Promise.reject(new Error("nobody asks for orders here"));
const ORDERS: OrdersPorts = {
  store: { dueSales: async () => [], expire: async () => [], read: unasked, ofPurchases: unasked, transaction: unasked },
  observer: { changed: nothing, paid: nothing },
  tell: nothing,
};

const observerOf = (world: World, { process: { name } }: Life): WorkerObserver => ({
  apply: {
    done: ({ shard }, applied) => {
      if (applied.kind === "gap" || applied.kind === "ignored") world.count(`apply ${applied.kind}`);
      world.say(() => `${name} shard ${shard} ${JSON.stringify(applied)}`);
    },
    fault: (_, error) => world.fault(`${name} apply`, error),
  },
  restored: (_, end) => world.count(`restore ${end}`),
  archived: ({ archived }) => {
    if (archived.length === 0) return;
    world.count("archived");
    world.say(() => `${name} archives ${archived.join(" ")}`);
  },
  fault: (where) => (error) => world.fault(`${name} ${where}`, error),
});

const portsOf = (world: World, life: Life): WorkerPorts => {
  const { postgres, twins } = world;
  const redis = world.nodes.map((_, shard) => new RedisWire(world, life, shard));
  const statements = new Wire(life, world, () => postgres, STATEMENT_MS);
  const source = restoreSourceOf(postgres, statements);
  const store = sweepStoreOf(postgres, statements);
  const shards = sweepShardsOf(world, redis);
  const ports: WorkerPorts = {
    shards: redis.map((wire, shard) => shardPortsOf(world, life, shard, wire)),
    publish: (status) => world.bus.publish(status),
    sweep: { store: twins.sweepStore?.(store) ?? store, shards: twins.sweepShards?.(shards) ?? shards },
    restore: {
      source: twins.restoreSource?.(source) ?? source,
      targetOf: (request) => targetOf(world, life, redis[request.shard] as RedisWire, request),
    },
    orders: ORDERS,
    archive: archiveOf(world, statements, redis),
    bucket: { converge: () => statements.call(BUCKET, () => convergeBucket(world)) },
    clock: life.clock,
    observer: observerOf(world, life),
  };
  return twins.workerPorts?.(ports) ?? ports;
};

const BUCKET_MS = 400;
const ARCHIVE_MS = 250;
const ends = ({ sales }: Options): boolean => sales.some(({ closedAtMs }) => closedAtMs !== undefined);

const policyOf = ({ options, twins }: World, life: Life): WorkerPolicy => ({
  sweepMs: options.sweepMs * (0.5 + life.random.fraction()),
  expiryMs: IDLE_MS,
  // sales of which none ever ends cost nothing
  bucketMs: ends(options) ? BUCKET_MS : IDLE_MS,
  archiveMs: ARCHIVE_MS,
  archiveAfterMs: ends(options) ? 1 : 0,
  // A rule that is broken beneath what the worker remembers is met as if it remembered nothing.
  trustedMs: twins.applyStore === undefined ? TRUSTED_MS : -1,
});

const answerOf = (end: RestoreEnd): Restored => {
  if (end === RestoreEnd.done) return "done";
  return end === RestoreEnd.overtaken ? RequestError.overtaken : RequestError.conflict;
};

/** The worker that ships, over the simulated stores. */
export const workerProgram = (world: World, name: string): Program => ({
  name,
  start: (life) => {
    const worker = composeWorker(portsOf(world, life), policyOf(world, life));
    world.bus.serve(life, async (request, progress) => answerOf(await worker.restore(request, progress)));
    void worker.run(life.stop);
  },
});
