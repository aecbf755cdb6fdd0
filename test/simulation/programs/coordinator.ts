import { RequestError } from "#protocol/requests";
import type { SaleRecord } from "#protocol/sale";
import {
  composeCoordinator,
  COORDINATOR_PARTS,
  type CoordinatorFeeds,
  type CoordinatorObserver,
  type CoordinatorPorts,
  type KeeperPorts,
} from "../../../coordinator/compose.ts";
import type { KeeperObserver } from "../../../coordinator/shards/keeper-observer.ts";
import type { Restored, Rows } from "../../../coordinator/shards/shard-ports.ts";
import type { SoldOutPorts } from "../../../coordinator/sales/sold-out/sold-out-ports.ts";
import type { TransferPorts } from "../../../coordinator/sales/transfers/transfer-ports.ts";
import type { Life, Program } from "../kernel/process.ts";
import { op, Unanswered, Wire, type Op } from "../kernel/wire.ts";
import { stock, withdraw } from "../redis/index.ts";
import type { World } from "../world.ts";
import { arrive } from "./bus.ts";
import { shardLogOf } from "./log-ports.ts";
import { RedisWire, shardStoreOf } from "./redis-ports.ts";

const REQUEST_MS = 2_000;
const PROGRESS_MS = 5_000;

const ROW = op("rows row");
const ARCHIVED = op("rows row and archived");
const RESTORE = op("rows restore");
const FACTS = op("sold-out facts");
const STANDING_FLAGS = op("sold-out flags for a coordinator");
const SET = op("sold-out set");
const STOCK = op("redis stock");
const WITHDRAW = op("redis withdraw");
const TRANSFER_FACTS = op("transfer facts");
const DRAINING = op("draining shards");

/** A restore as its asker sees it: progress keeps it alive, silence ends it. */
const restoreBy = (world: World, life: Life, wire: Wire, shard: number, request: Parameters<Rows["restore"]>[0], stop: AbortSignal) =>
  new Promise<Restored>((resolve, reject) => {
    let heardAtMs = world.kernel.nowMs;
    let isOver = false;
    const over = (): void => {
      isOver = true;
      stop.removeEventListener("abort", giveUp);
    };
    const giveUp = (): void => {
      over();
      reject(new Unanswered("no progress of the restore"));
    };
    const watch = (): void =>
      arrive(world.kernel, life, Math.max(1, heardAtMs + PROGRESS_MS - world.kernel.nowMs), () => {
        if (isOver) return;
        if (world.kernel.nowMs - heardAtMs >= PROGRESS_MS) giveUp();
        else watch();
      });
    const hear = (end?: Restored): void => {
      if (world.kernel.draw.chance(world.weather.lost)) return;
      arrive(world.kernel, life, 0.3 + world.kernel.draw.fraction() * 3, () => {
        heardAtMs = world.kernel.nowMs;
        if (end === undefined || isOver) return;
        over();
        resolve(end);
      });
    };
    stop.addEventListener("abort", giveUp, { once: true });
    watch();
    wire.post(RESTORE, () => {
      const worker = world.bus.worker();
      if (worker === undefined) return;
      arrive(world.kernel, worker.life, 0.3, () => {
        void worker.restore({ shard, ...request }, () => hear()).then(hear, () => hear(RequestError.unavailable));
      });
    });
  });

/** A request that one of the workers answers from Postgres. */
const askWorkers =
  (world: World, wire: Wire) =>
  <T>(op: Op, answer: () => T): Promise<T> =>
    wire.call(op, () => {
      if (world.bus.worker() === undefined || !world.postgres.isUp) throw new Unanswered("no worker answers");
      return answer();
    });

const rowsOf = (world: World, life: Life, shard: number): Rows => {
  const wire = new Wire(life, world, () => world.broker, REQUEST_MS);
  return {
    row: () => askWorkers(world, wire)(ROW, () => ({ ...world.postgres.shardRow(shard) })),
    rowAndArchived: (saleIds) =>
      askWorkers(world, wire)(ARCHIVED, () => ({
        row: { ...world.postgres.shardRow(shard) },
        archived: saleIds.filter((saleId) => world.postgres.sales.get(saleId)?.archived === true),
      })),
    restore: (request, stop) => restoreBy(world, life, wire, shard, request, stop),
  };
};

const soldOutPortsOf = (world: World, life: Life): SoldOutPorts => {
  const wire = new Wire(life, world, () => world.broker, REQUEST_MS);
  const ask = askWorkers(world, wire);
  const redis = world.nodes.map((_, shard) => new RedisWire(world, life, shard));
  return {
    stock: (shard, saleId) => (redis[shard] as RedisWire).run(STOCK, (server) => stock(server, saleId)),
    flags: () => ask(STANDING_FLAGS, () => world.postgres.flags()),
    facts: (saleId) => ask(FACTS, () => world.postgres.facts(saleId)),
    setSoldOut: (saleId, returnsSeq) =>
      wire.hold(SET, (exchange) => {
        if (world.bus.worker() === undefined || !world.postgres.isUp) throw new Unanswered("no worker answers");
        world.postgres.setSoldOut(saleId, returnsSeq, (isSet) => {
          world.say(() => `${life.process.name} sold out: ${isSet}`);
          exchange.answer(isSet);
        });
      }),
  };
};

const keeperObserverOf = (world: World, name: string): KeeperObserver => {
  return {
    lease: (isHeld) => world.say(() => `${name} lease ${isHeld}`),
    attempting: () => undefined,
    attempted: (result, epoch) => {
      world.count(`attempt ${result}`);
      world.say(() => `${name} attempt ${result} ${epoch}`);
    },
    open: () => undefined,
    halted: (reason) => world.ledger.violate("HALTED", reason),
    lag: () => undefined,
    appended: () => undefined,
    appendedAgain: (cause, from) => {
      world.count(`appended again: ${cause}`);
      world.say(() => `${name} again from ${from}: ${cause}`);
    },
    purged: (before) => {
      world.count("purge");
      world.say(() => `${name} purged below ${before}`);
    },
    fault: (error) => world.fault(name, error),
  };
};

const transferPortsOf = (world: World, life: Life, looks: SoldOutPorts): TransferPorts => {
  const wire = new Wire(life, world, () => world.broker, REQUEST_MS);
  const redis = world.nodes.map((_, shard) => new RedisWire(world, life, shard));
  const ask = askWorkers(world, wire);
  return {
    stock: (shard, saleId) => looks.stock(shard, saleId),
    facts: (saleId) => ask(TRANSFER_FACTS, () => world.postgres.transferFacts(saleId)),
    draining: () => ask(DRAINING, () => world.postgres.shards.flatMap(({ shard, draining }) => (draining ? [shard] : []))),
    withdraw: (request) => (redis[request.shard] as RedisWire).run(WITHDRAW, (server) => withdraw(server, request)),
  };
};

const observerOf = (world: World, life: Life): CoordinatorObserver => {
  const { name } = life.process;
  return {
    shard: (shard) => keeperObserverOf(world, `${name} shard ${shard}`),
    soldOut: () => world.count("sold out"),
    moved: (saleId, { from, to, units, reason }) => {
      world.count(`moved ${reason}`);
      world.say(() => `${name} moves ${units} of ${saleId} from ${from} to ${to}`);
    },
    fault: (where, error) => world.fault(`${name} ${where}`, error),
  };
};

const feedsOf = ({ bus, options }: World, life: Life): CoordinatorFeeds => ({
  onApplied: (listener) => bus.hear(life, ({ shard, epoch, applied }) => listener(shard, epoch, applied)),
  onDry: (listener) => {
    // a schedule in which nobody brings units is one in which nobody says where they are wanted
    if (options.mover) bus.hearDry(life, listener);
  },
  onBrokerBack: (listener) => bus.hearBrokerBack(life, listener),
  onRedisBack: (listener) => bus.hearRedisBack(life, listener),
});

const keeperPortsOf = (world: World, life: Life, shard: number): KeeperPorts => {
  const { twins } = world;
  const store = shardStoreOf(world, life, shard);
  const rows = rowsOf(world, life, shard);
  const log = shardLogOf(world, life, shard);
  const ports = {
    store: twins.shardStore?.(store, shard, world) ?? store,
    rows: twins.rows?.(rows, shard, world) ?? rows,
    log: twins.shardLog?.(log, shard, world) ?? log,
    // simulated stores have no settings
    settings: { refusals: async () => [] },
  };
  return twins.keeper?.(ports) ?? ports;
};

const portsOf = (world: World, life: Life, looks: SoldOutPorts, sales: readonly SaleRecord[]): CoordinatorPorts => {
  const { options, twins } = world;
  const { name } = life.process;
  const transfers = transferPortsOf(world, life, looks);
  return {
    shards: world.nodes.map((_, shard) => keeperPortsOf(world, life, shard)),
    sales: {
      // a schedule in which nobody decides about sold-out is one in which no sale is known to those who look at all of them
      all: () => (options.soldOut ? sales : []),
      get: (saleId) => sales.find(({ id }) => id === saleId),
      run: async () => undefined,
    },
    soldOut: twins.soldOutPorts?.(looks) ?? looks,
    transfers: twins.transferPorts?.(transfers) ?? transfers,
    feeds: feedsOf(world, life),
    // nobody listens here
    publishAttempt: () => undefined,
    observer: observerOf(world, life),
    clock: life.clock,
    random: twins.random?.(life.random, name) ?? life.random,
    holder: name,
  };
};

/** Moves a unit of a sale from one of its shards to another, as often as the options say. */
const moveUnits = async (world: World, life: Life, ports: SoldOutPorts, sales: readonly SaleRecord[]): Promise<void> => {
  const { kernel, options } = world;
  const redis = world.nodes.map((_, shard) => new RedisWire(world, life, shard));
  const wide = sales.filter(({ shards }) => shards.length > 1);
  for (let i = 0; i < options.moves && wide.length > 0; i += 1) {
    await life.clock.sleep((kernel.draw.fraction() * 2 * options.chaosMs) / options.moves);
    const sale = kernel.draw.pick(wide);
    const [donor = 0, receiver = 0] = kernel.draw.chance(0.5) ? sale.shards : sale.shards.toReversed();
    try {
      const seen = await ports.stock(donor, sale.id);
      if (seen.status !== "ok" || seen.left === 0) continue;
      const request = { epoch: seen.epoch, saleId: sale.id, units: 1, receiver, moves: seen.moves };
      const moved = await (redis[donor] as RedisWire).run(WITHDRAW, (server) => withdraw(server, request));
      world.count(`move ${moved.status}`);
    } catch (error) {
      world.fault(`${life.process.name} move`, error);
    }
  }
};

/** The coordinator that ships, over the simulated stores. */
export const coordinatorProgram = (world: World, name: string, sales: readonly SaleRecord[]): Program => ({
  name,
  start: (life) => {
    const { options, twins } = world;
    const looks = soldOutPortsOf(world, life);
    const { leaseMs, openMs } = options;
    const parts = twins.coordinatorParts?.(COORDINATOR_PARTS) ?? COORDINATOR_PARTS;
    void composeCoordinator(portsOf(world, life, looks, sales), { leaseMs, openMs }, parts).run(life.stop);
    void moveUnits(world, life, looks, sales);
  },
});
