import { RequestError } from "#protocol/requests";
import type { RestoreRequest } from "#protocol/requests";
import type { Restored } from "../../../coordinator/shards/shard-ports.ts";
import { applyDelivery } from "../../../workers/apply/delivery.ts";
import { KnownPositions } from "../../../workers/apply/known.ts";
import type { RestoreTarget } from "../../../workers/restore/restore-ports.ts";
import { RestoreQueue } from "../../../workers/restore/queue.ts";
import { RestoreEnd, restoreShard } from "../../../workers/restore/restore.ts";
import type { SweepShards } from "../../../workers/sales/sweep-ports.ts";
import { Sweep } from "../../../workers/sales/sweep.ts";
import type { Life, Program } from "../kernel/process.ts";
import { op, Wire } from "../kernel/wire.ts";
import { applyStoreOf } from "../postgres/apply-store.ts";
import { restoreSourceOf, sweepStoreOf } from "../postgres/stores.ts";
import { defineSale, grant, settle, stageBuyers, stageGrants, stageSale, swapShard } from "../redis/index.ts";
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

/** Applies one shard's messages, one after the other (workers/apply/applier.ts). */
const lane = async (world: World, life: Life, shard: number, redis: RedisWire): Promise<void> => {
  const next = deliveriesOf(world, life, shard);
  const store = applyStoreOf(world.postgres, new Wire(life, world, () => world.postgres, STATEMENT_MS));
  const observer = {
    done: (_: unknown, applied: { readonly kind: string }) => {
      if (applied.kind === "gap" || applied.kind === "ignored") world.count(`apply ${applied.kind}`);
      world.say(() => `${life.process.name} shard ${shard} ${JSON.stringify(applied)}`);
    },
    fault: (_: unknown, error: unknown) => world.fault(`${life.process.name} apply`, error),
  };
  const { twins } = world;
  const seen = new KnownPositions(life.clock);
  for (;;) {
    const handedOut = await next();
    if (handedOut === undefined) continue;
    const delivery = twins.delivery?.(handedOut) ?? handedOut;
    // A rule that is broken beneath what the worker remembers is met as if it remembered nothing.
    const known = twins.applyStore === undefined ? seen : new KnownPositions(life.clock);
    const ports = { store: twins.applyStore?.(store, delivery) ?? store, clock: life.clock, observer, known };
    const aftermath = await applyDelivery(ports, delivery, life.stop);
    if (aftermath === undefined) continue;
    const { status, settle: position } = aftermath;
    if (position !== undefined) void redis.run(SETTLE, (server) => settle(server, position)).catch(() => undefined);
    world.bus.publish(status);
  }
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
  };
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

/** workers/worker.ts, over the simulated stores. */
export const workerProgram = (world: World, name: string): Program => ({
  name,
  start: (life) => {
    const { options, twins, postgres } = world;
    const redis = world.nodes.map((_, shard) => new RedisWire(world, life, shard));
    const statements = new Wire(life, world, () => postgres, STATEMENT_MS);
    for (const [shard, wire] of redis.entries()) void lane(world, life, shard, wire);
    const shipped = restoreSourceOf(postgres, statements);
    const source = twins.restoreSource?.(shipped) ?? shipped;
    const queue = new RestoreQueue(life.clock);
    world.bus.serve(life, async (request, progress): Promise<Restored> => {
      const target = targetOf(world, life, redis[request.shard] as RedisWire, request);
      const end = await queue.run(() => restoreShard(source, target, life.clock, request, progress), progress);
      world.count(`restore ${end}`);
      if (end === RestoreEnd.done) return "done";
      return end === RestoreEnd.overtaken ? RequestError.overtaken : RequestError.conflict;
    });
    const store = sweepStoreOf(postgres, statements);
    const sweep = new Sweep({
      store: twins.sweepStore?.(store) ?? store,
      shards: twins.sweepShards?.(sweepShardsOf(world, redis)) ?? sweepShardsOf(world, redis),
      clock: life.clock,
      fault: (error) => world.fault(`${name} sweep`, error),
    });
    void (async () => {
      for (;;) {
        await sweep.round().catch((error: unknown) => world.fault(`${name} sweep`, error));
        await life.clock.sleep(options.sweepMs * (0.5 + life.random.fraction()));
      }
    })();
  },
});
