import { RequestError } from "#protocol/requests";
import type { SaleRecord } from "#protocol/sale";
import { Keeper, type KeeperObserver } from "../../../coordinator/shards/keeper.ts";
import type { Restored, Rows } from "../../../coordinator/shards/shard-ports.ts";
import type { SoldOutPorts } from "../../../coordinator/sales/sold-out/sold-out-ports.ts";
import { watchSoldOut } from "../../../coordinator/sales/sold-out/watch.ts";
import { Mover } from "../../../coordinator/sales/transfers/mover.ts";
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

const observerOf = (world: World, life: Life, shard: number): KeeperObserver => {
  const name = `${life.process.name} shard ${shard}`;
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

const moverOf = (world: World, life: Life, keepers: readonly Keeper[], looks: SoldOutPorts, sales: readonly SaleRecord[]): Mover => {
  const wire = new Wire(life, world, () => world.broker, REQUEST_MS);
  const redis = world.nodes.map((_, shard) => new RedisWire(world, life, shard));
  const ask = askWorkers(world, wire);
  const ports: TransferPorts = {
    stock: (shard, saleId) => looks.stock(shard, saleId),
    facts: (saleId) => ask(TRANSFER_FACTS, () => world.postgres.transferFacts(saleId)),
    draining: () => ask(DRAINING, () => world.postgres.shards.flatMap(({ shard, draining }) => (draining ? [shard] : []))),
    withdraw: (request) => (redis[request.shard] as RedisWire).run(WITHDRAW, (server) => withdraw(server, request)),
  };
  return new Mover({
    ports: world.twins.transferPorts?.(ports) ?? ports,
    clock: life.clock,
    sale: (saleId) => sales.find(({ id }) => id === saleId),
    sales: () => sales,
    isOurs: (shard) => keepers[shard]?.isOpen === true,
    moved: (saleId, { from, to, units, reason }) => {
      world.count(`moved ${reason}`);
      world.say(() => `${life.process.name} moves ${units} of ${saleId} from ${from} to ${to}`);
    },
    fault: (error) => world.fault(`${life.process.name} mover`, error),
  });
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

/** coordinator/coordinator.ts, over the simulated stores. */
export const coordinatorProgram = (world: World, name: string, sales: readonly SaleRecord[]): Program => ({
  name,
  start: (life) => {
    const { options, twins } = world;
    const keepers = world.nodes.map((_, shard) => {
      const store = shardStoreOf(world, life, shard);
      const rows = rowsOf(world, life, shard);
      const log = shardLogOf(world, life, shard);
      const ports = {
        store: twins.shardStore?.(store, shard, world) ?? store,
        rows: twins.rows?.(rows, shard, world) ?? rows,
        log: twins.shardLog?.(log, shard, world) ?? log,
      };
      return new Keeper({
        shard,
        leaseMs: options.leaseMs,
        openMs: options.openMs,
        ...(twins.keeper?.(ports) ?? ports),
        clock: life.clock,
        random: twins.random?.(life.random, name) ?? life.random,
        observer: observerOf(world, life, shard),
      });
    });
    world.bus.hear(life, ({ shard, epoch, applied }) => keepers[shard]?.heardApplied(epoch, applied));
    for (const keeper of keepers) void keeper.run(life.stop);
    const ports = soldOutPortsOf(world, life);
    void moveUnits(world, life, ports, sales);
    if (options.mover && sales.some(({ shards }) => shards.length > 1)) {
      const mover = moverOf(world, life, keepers, ports, sales);
      world.bus.hearDry(life, (shard, saleId, units) => mover.hint(shard, saleId, units));
      void mover.run(life.stop);
    }
    if (!options.soldOut) return;
    void watchSoldOut(
      {
        ports: twins.soldOutPorts?.(ports) ?? ports,
        clock: life.clock,
        sales: () => sales,
        isOurs: (shard) => keepers[shard]?.isOpen === true,
        decided: () => world.count("sold out"),
        fault: (error) => world.fault(`${name} sold-out`, error),
      },
      life.stop,
    );
  },
});
