import { formatOrderId } from "#protocol/order-id";
import type { PurchaseOrder } from "#protocol/requests";
import type { SaleRecord } from "#protocol/sale";
import type { BuyPorts, Loop, PurchaseKey, PurchaseStore, StatusListener, Tickets } from "../../../gateway/buy/service-ports.ts";
import type { SaleBook } from "../../../gateway/sales/book.ts";
import type { SoldOutStore } from "../../../gateway/sales/sold-out.ts";
import { BEGINNING_MS } from "../kernel/kernel.ts";
import type { Life } from "../kernel/process.ts";
import { op, Unanswered, Wire } from "../kernel/wire.ts";
import { purchaseKey } from "../postgres/tables.ts";
import { reserve, standing, stock } from "../redis/index.ts";
import type { World } from "../world.ts";
import { arrive } from "./bus.ts";
import { RedisWire } from "./redis-ports.ts";

const RESERVE = op("redis reserve");
const STANDING = op("redis standing");
const STOCK = op("redis stock for a gateway");
const BUYERS = op("redis buyers");
const FLAGS = op("sold-out flags");
const SALES = op("sales");
const ORDERS = op("orders of purchases");

/** Who asks the workers gives up after so long. */
export const REQUEST_MS = 400;
const OUTBOX_LIMIT = 40;
const BUYERS_A_PAGE = 3;
/** The bucket is watched: what changes is known within so long. */
const WATCH_MS = 500;

/** Tickets that say what they are: signatures are not what is simulated. */
const tickets: Tickets = {
  find: (text) => ({ saleAt: 0, saleEnd: text.indexOf(" "), uidAt: text.indexOf(" ") + 1, uidEnd: text.length }),
  read: (text) => {
    const [saleId = "", uid = ""] = text.split(" ");
    return { saleId, uid };
  },
  verify: () => "ok",
};

/** The loops of a gateway, of which the tick rests while nothing is held: schedules are cheap by that. */
class Pace {
  readonly #life: Life;
  readonly #soldOut: boolean;
  #wake: () => void = () => undefined;

  constructor(life: Life, soldOut: boolean) {
    this.#life = life;
    this.#soldOut = soldOut;
  }

  readonly untilDue = async (loop: Loop, stop: AbortSignal): Promise<void> => {
    if (loop.name !== "tick" && !this.#soldOut) await new Promise(() => undefined);
    while (!loop.isNeeded())
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    await this.#life.clock.sleep(loop.everyMs, stop);
  };

  /** A call is on its way: all that is held is held since one. */
  readonly wake = (): void => this.#wake();
}

const storeOf = (redis: RedisWire, pace: Pace): PurchaseStore => ({
  isReady: () => redis.isUp,
  reserve: (saleId, purchases) => {
    pace.wake();
    return redis.run(RESERVE, (server) => reserve(server, { saleId, outboxLimit: OUTBOX_LIMIT, purchases }));
  },
  standing: (saleId, purchases) => {
    pace.wake();
    return redis.run(STANDING, (server) => standing(server, { saleId, purchases }));
  },
  reset: () => undefined,
});

const soldOutStoreOf = (world: World, worker: Wire, redis: readonly RedisWire[]): SoldOutStore => {
  const of = (shard: number): RedisWire => redis[shard] as RedisWire;
  return {
    flags: () => worker.call(FLAGS, () => fromPostgres(world, () => world.postgres.flags())),
    stock: (shard, saleId) => of(shard).run(STOCK, (server) => stock(server, saleId)),
    buyers: (shard, saleId, cursor) =>
      of(shard).run(BUYERS, ({ data }) => {
        const sale = data.sales.get(saleId);
        const fields = sale === undefined ? [] : [...sale.buyers.keys(), ...sale.totals.keys()];
        const at = Number(cursor);
        const next = at + BUYERS_A_PAGE;
        return { cursor: next >= fields.length ? "0" : String(next), fields: fields.slice(at, next) };
      }),
  };
};

const fromPostgres = <T>(world: World, read: () => T): T => {
  if (world.bus.worker() === undefined || !world.postgres.isUp) throw new Unanswered("no worker answers");
  return read();
};

const findSales = ({ postgres }: World, ids: readonly string[]): readonly SaleRecord[] =>
  ids.flatMap((id) => {
    const sale = postgres.sales.get(id);
    return sale === undefined ? [] : [postgres.recordOf(sale)];
  });

/** The order that binds the buyer, or else the first that was refused. */
const orderOf = ({ postgres }: World, saleId: string, { uid, key }: PurchaseKey): PurchaseOrder | null => {
  const order =
    postgres.binding.get(purchaseKey(saleId, uid, key)) ??
    postgres.orders.find((refused) => refused.saleId === saleId && refused.uid === uid && refused.key === key);
  if (order === undefined) return null;
  return { orderId: formatOrderId(order), units: order.units, state: order.state, payByMs: null, reason: order.reason };
};

/** Brings what the bucket holds into a book; who was deleted there since the last time is taken out. */
const followerOf = ({ bucket }: World, book: SaleBook): (() => void) => {
  const seen = new Set<string>();
  return () => {
    for (const [id, record] of bucket) {
      book.put(record);
      seen.add(id);
    }
    for (const id of seen) if (!bucket.has(id) && seen.delete(id)) book.remove(id);
  };
};

/**
 * The simulated outside of a gateway.
 * @param connectionMs a connection that is silent for so long is made anew: what was on it fails
 */
export const buyPortsOf = (world: World, life: Life, connectionMs: number): BuyPorts => {
  const { clock, random, kernel, process } = life;
  const redis = world.nodes.map((_, shard) => new RedisWire(world, life, shard, connectionMs));
  const pace = new Pace(life, world.options.soldOut);
  const worker = new Wire(life, world, () => world.broker, REQUEST_MS);
  let listener: StatusListener | undefined;
  world.bus.hear(life, (event) => {
    const isRead = listener?.isNeeded() === true;
    if (isRead) listener?.onEvent(event);
    world.news.heard(life, event, isRead);
  });
  return {
    shards: redis.map((wire) => storeOf(wire, pace)),
    connections: { tick: () => undefined, close: () => undefined },
    clock,
    wallClock: { nowMs: () => BEGINNING_MS + kernel.nowMs + process.aheadMs },
    turn: { atEnd: (flush) => arrive(kernel, life, 0, flush) },
    random,
    tickets,
    soldOut: soldOutStoreOf(world, worker, redis),
    findSales: (ids) => worker.call(SALES, () => fromPostgres(world, () => findSales(world, ids))),
    purchaseOrders: (saleId, purchases) => {
      pace.wake();
      return worker.call(ORDERS, () => fromPostgres(world, () => purchases.map((purchase) => orderOf(world, saleId, purchase))));
    },
    followSales: async (book, onLoaded, stop) => {
      // the bucket reaches some late: they have to look for what they are asked for
      if (kernel.draw.chance(0.2)) await clock.sleep(kernel.draw.logarithmic(50, 10_000), stop);
      const follower = followerOf(world, book);
      follower();
      onLoaded();
      // sales that never change need no watch, and some watches are broken
      if (world.options.sales.every(({ closedAtMs }) => closedAtMs === undefined) || kernel.draw.chance(0.3)) return;
      while (!stop.aborted) {
        await clock.sleep(WATCH_MS, stop);
        if (world.broker.isUp && !world.isCut(process, "broker")) follower();
      }
    },
    followStatus: (followed) => {
      listener = followed;
      return () => {
        listener = undefined;
      };
    },
    orders: {
      ofPurchases: (saleId, purchases) =>
        worker.call(ORDERS, () => fromPostgres(world, () => purchases.map((purchase) => orderOf(world, saleId, purchase)))),
    },
    // nobody tells of a change: what is believed of an order has to end by itself
    followOrders: () => () => undefined,
    hintDry: (shard, { saleId, units }) => world.bus.dry(life, shard, saleId, units),
    untilDue: pace.untilDue,
    onPurchases: () => undefined,
    onStandings: () => undefined,
    onRefused: () => undefined,
    onFault: (error, what) => world.fault(`${process.name}: ${what}`, error),
  };
};
