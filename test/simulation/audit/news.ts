import type { StatusEvent } from "#protocol/status";
import type { Outcome } from "../../../gateway/buy/outcome.ts";
import type { Life } from "../kernel/process.ts";
import type { World } from "../world.ts";

/** Somebody who waits at a gateway for the end of one order. */
interface Wait {
  readonly uid: string;
  readonly orderId: string;
  isOver: boolean;
}

/** Somebody who watches a buyer's orders at a gateway, as an open socket does. */
export interface Watch {
  readonly saleId: string;
  readonly uid: string;
  /** final orders that were pushed */
  readonly pushed: Set<string>;
  /** the last order that the buyer was told at this gateway to have, while watching; it has to end */
  reserved: string | undefined;
}

/** A purchase that is on its way and whose buyer will wait for its end. */
interface Expected {
  readonly saleId: string;
  readonly uid: string;
}

interface AtGateway {
  readonly expected: Set<Expected>;
  readonly waits: Wait[];
  readonly watches: Watch[];
}

/**
 * What the living gateways owe to those who wait and watch there: an order that an event names is told at once, and every
 * other one in the end, though its event was lost. Shares no code with the engine.
 */
export class News {
  readonly #world: World;
  readonly #gateways = new Map<Life, AtGateway>();

  constructor(world: World) {
    this.#world = world;
  }

  /** @returns to be called with the purchase's answer */
  willWait(life: Life, saleId: string, uid: string): () => void {
    const { expected } = this.#at(life);
    const one = { saleId, uid };
    expected.add(one);
    return () => void expected.delete(one);
  }

  /** @returns to be called with the end */
  waits(life: Life, uid: string, orderId: string): () => void {
    const wait: Wait = { uid, orderId, isOver: false };
    this.#at(life).waits.push(wait);
    return () => {
      wait.isOver = true;
    };
  }

  watches(life: Life, saleId: string, uid: string): Watch {
    const { watches } = this.#at(life);
    // what was pushed before is not news for the next socket either
    const before = watches.findLast((watch) => watch.saleId === saleId && watch.uid === uid)?.pushed;
    const watch: Watch = { saleId, uid, pushed: new Set(before), reserved: undefined };
    watches.push(watch);
    return watch;
  }

  pushed(watch: Watch, { orderId }: Outcome): void {
    if (orderId !== undefined) watch.pushed.add(orderId);
    // without an id, or with another one: what was reserved did not survive
    watch.reserved = undefined;
  }

  /** A buyer was told at this gateway to have an order. */
  reserved(life: Life, saleId: string, uid: string, orderId: string): void {
    for (const watch of this.#at(life).watches) if (watch.saleId === saleId && watch.uid === uid) watch.reserved = orderId;
  }

  /** A gateway has heard this event, and done with it what it does. @param isRead it has looked into it */
  heard(life: Life, { shard, epoch, orders }: StatusEvent, isRead: boolean): void {
    const { expected, waits, watches } = this.#at(life);
    for (const [seq, saleId, packed] of orders) {
      for (const [index, purchase] of packed.split(" ").entries()) {
        const [uid] = purchase.split(":");
        const orderId = [shard, epoch, seq, index].map((part) => part.toString(36)).join("-");
        for (const watch of watches)
          if (watch.saleId === saleId && watch.uid === uid && !watch.pushed.has(orderId))
            this.#world.ledger.violate("L_NOT_PUSHED", `${uid} ${orderId} at ${life.process.name}`);
        for (const wait of waits)
          if (wait.orderId === orderId && wait.uid === uid && !wait.isOver)
            this.#world.ledger.violate("L_NOT_ANSWERED", `${uid} ${orderId} at ${life.process.name}`);
        for (const one of isRead ? [] : expected)
          if (one.saleId === saleId && one.uid === uid)
            this.#world.ledger.violate("L_NOT_READ", `${uid} ${orderId} at ${life.process.name}`);
      }
    }
  }

  forget(life: Life): void {
    this.#gateways.delete(life);
  }

  /** somebody waits for, or watches, an order whose end he was not told */
  get isOwed(): boolean {
    for (const { waits, watches } of this.#gateways.values()) {
      if (waits.some(({ isOver }) => !isOver)) return true;
      if (watches.some(({ reserved, pushed }) => reserved !== undefined && !pushed.has(reserved))) return true;
    }
    return false;
  }

  #at(life: Life): AtGateway {
    let at = this.#gateways.get(life);
    if (at === undefined) this.#gateways.set(life, (at = { expected: new Set(), waits: [], watches: [] }));
    return at;
  }
}
