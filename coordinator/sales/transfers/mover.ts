import { Status } from "#lua/core/codes";
import type { Stock } from "#lua/stock/stock";
import { Wakeup } from "#program/wakeup";
import type { Clock } from "#protocol/ports";
import type { TransferFacts } from "#protocol/requests";
import { SaleState, type SaleRecord } from "#protocol/sale";
import { Demand } from "./demand.ts";
import { planMoves, type Move, type ShardView } from "./policy.ts";
import type { TransferPorts } from "./transfer-ports.ts";
import { Stay } from "./stay.ts";

/** Between two looks at a sale: a transfer takes 50 to 300 ms, so a second look sooner sees the same. */
const LOOK_MS = 50;
/** After a look that moved nothing: the sale is sold out, or its last units wait for somebody. */
const IDLE_LOOK_MS = 200;
const DRAIN_LOOK_MS = 1_000;
/** Withdrawn units that neither arrived nor are on their way by then were lost with their Redis: ask again. */
const LOST_MS = 5_000;
/** Two looks further apart say nothing about the speed of late. */
const SPEED_LOOKS_MS = 2_000;
const SECOND_MS = 1_000;

export interface MoverOptions {
  readonly ports: TransferPorts;
  readonly clock: Clock;
  readonly sale: (saleId: string) => SaleRecord | undefined;
  readonly sales: () => Iterable<SaleRecord>;
  /**
   * Whether this coordinator looks after the shard. Whoever looks after a shard brings units to it, or away from it if it
   * drains; so that a shard that is down stops nobody else's.
   */
  readonly isOurs: (shard: number) => boolean;
  readonly moved: (saleId: string, move: Move) => void;
  readonly fault: (error: unknown) => void;
}

interface Seen {
  readonly atMs: number;
  readonly epoch: number;
  readonly moves: number;
  readonly left: number;
}

/** What this process remembers of a sale that it moves units of; forgetting it costs at most a needless move. */
interface Memory {
  nextLookMs: number;
  isBusy: boolean;
  readonly stay: Stay;
  readonly seen: Map<number, Seen>;
  /** shard -> units that were withdrawn for it and are perhaps not yet a grant */
  readonly sent: Map<number, { readonly units: number; readonly atMs: number }>;
}

type OpenStock = Stock & { readonly status: typeof Status.ok };

/**
 * Moves units of our sales to where they are asked for, and away from shards that drain (DESIGN 7.3).
 *
 * No state here matters: a withdrawal is one step on the donor and only if its stock is still what was looked at, and from
 * there on entry, quota and grant carry the units. So two coordinators that decide at once, one that is paused and goes
 * on, and one that dies anywhere can only move more or less than was good.
 */
export class Mover {
  readonly #options: MoverOptions;
  readonly #demand: Demand;
  readonly #memories = new Map<string, Memory>();
  #draining: ReadonlySet<number> = new Set();
  #nextDrainLookMs = 0;
  readonly #wakeup: Wakeup;

  constructor(options: MoverOptions) {
    this.#options = options;
    this.#demand = new Demand(options.clock);
    this.#wakeup = new Wakeup(options.clock);
  }

  /** A buyer asked for units on this shard and there were too few. From outside: checked here. */
  hint(shard: number, saleId: string, units: number): void {
    const sale = this.#options.sale(saleId);
    if (sale === undefined || sale.shards.length < 2 || !sale.shards.includes(shard) || !this.#options.isOurs(shard)) return;
    this.#demand.note(saleId, shard, units);
    this.#wakeup.wake();
  }

  async run(stop: AbortSignal): Promise<void> {
    const { clock, fault } = this.#options;
    const running = new Set<Promise<void>>();
    while (!stop.aborted) {
      if (clock.monotonicMs() >= this.#nextDrainLookMs) await this.#lookForDraining().catch(fault);
      for (const sale of this.#due()) {
        const looking = this.#look(sale)
          .catch(fault)
          .finally(() => running.delete(looking));
        running.add(looking);
      }
      // With somebody who asks, looks come as often as one can see something new: what else is asked for waits for the next.
      if (this.#demand.isEmpty && this.#draining.size === 0) await this.#wakeup.wait(DRAIN_LOOK_MS, stop);
      else await clock.sleep(LOOK_MS, stop);
    }
    await Promise.all(running);
  }

  async #lookForDraining(): Promise<void> {
    this.#nextDrainLookMs = this.#options.clock.monotonicMs() + DRAIN_LOOK_MS;
    this.#draining = new Set(await this.#options.ports.draining());
  }

  /** Sales of ours with somebody who asks or a shard that drains, not looked at a moment ago. */
  #due(): SaleRecord[] {
    const { clock, sale, sales, isOurs } = this.#options;
    const nowMs = clock.monotonicMs();
    const due = new Map<string, SaleRecord>();
    for (const saleId of this.#demand.sales()) {
      const record = sale(saleId);
      if (record !== undefined) due.set(saleId, record);
    }
    if (this.#draining.size > 0)
      for (const record of sales())
        if (record.shards.length > 1 && record.shards.some((shard) => this.#draining.has(shard) && isOurs(shard)))
          due.set(record.id, record);
    for (const [saleId, memory] of this.#memories)
      if (!due.has(saleId) && !memory.isBusy && memory.nextLookMs + LOST_MS < nowMs) this.#memories.delete(saleId);
    return [...due.values()].filter(({ id, state }) => {
      const memory = this.#memories.get(id);
      return state !== SaleState.closed && (memory === undefined || (!memory.isBusy && memory.nextLookMs <= nowMs));
    });
  }

  async #look(sale: SaleRecord): Promise<void> {
    const { clock } = this.#options;
    let memory = this.#memories.get(sale.id);
    if (memory === undefined)
      this.#memories.set(sale.id, (memory = { nextLookMs: 0, isBusy: false, stay: new Stay(), seen: new Map(), sent: new Map() }));
    memory.isBusy = true;
    let isMoved = false;
    try {
      isMoved = await this.#move(sale, memory);
    } finally {
      memory.isBusy = false;
      memory.nextLookMs = clock.monotonicMs() + (isMoved ? LOOK_MS : IDLE_LOOK_MS);
    }
  }

  /** @returns whether units were taken out */
  async #move(sale: SaleRecord, memory: Memory): Promise<boolean> {
    const { ports, isOurs, moved } = this.#options;
    const facts = await ports.facts(sale.id);
    const stocks = new Map<number, OpenStock>();
    await Promise.all(
      sale.shards.map(async (shard) => {
        // A Redis that is away has nothing to give and can take nothing; its shard's keeper tells about it.
        const stock = await ports.stock(shard, sale.id).catch(() => undefined);
        if (stock?.status === Status.ok) stocks.set(shard, stock);
      }),
    );
    memory.stay.look(facts, stocks);
    const views = sale.shards.map((shard) => this.#view(sale.id, shard, stocks.get(shard), facts, memory));
    const moves = planMoves(views, new Set(sale.shards.filter((shard) => isOurs(shard))));
    let isMoved = false;
    for (const move of moves) {
      const stock = stocks.get(move.from) as OpenStock;
      const { from: shard, to: receiver, units } = move;
      const answer = await ports.withdraw({ shard, epoch: stock.epoch, saleId: sale.id, units, receiver, moves: stock.moves });
      if (answer.status !== Status.ok) continue;
      isMoved = true;
      memory.stay.goOn(
        facts.find((fact) => fact.shard === shard),
        stock,
      );
      const before = memory.sent.get(receiver)?.units ?? 0;
      memory.sent.set(receiver, { units: before + answer.units, atMs: this.#options.clock.monotonicMs() });
      moved(sale.id, { ...move, units: answer.units });
    }
    return isMoved;
  }

  #view(saleId: string, shard: number, stock: OpenStock | undefined, facts: TransferFacts, memory: Memory): ShardView {
    const nowMs = this.#options.clock.monotonicMs();
    const fact = facts.find((each) => each.shard === shard);
    const sent = memory.sent.get(shard);
    // The grant is there, or will never be: Postgres counts from here on.
    if (sent !== undefined && ((fact?.sentUnits ?? 0) >= sent.units || sent.atMs + LOST_MS < nowMs)) memory.sent.delete(shard);
    const seen = memory.seen.get(shard);
    if (stock !== undefined) {
      if (sent !== undefined && seen !== undefined && stock.moves > seen.moves) memory.sent.delete(shard);
      memory.seen.set(shard, { atMs: nowMs, epoch: stock.epoch, moves: stock.moves, left: stock.left });
    }
    const isSpeedKnown =
      stock !== undefined &&
      seen !== undefined &&
      seen.epoch === stock.epoch &&
      seen.moves === stock.moves &&
      nowMs > seen.atMs &&
      nowMs - seen.atMs < SPEED_LOOKS_MS;
    return {
      shard,
      isOpen: stock !== undefined && fact !== undefined,
      left: stock?.left ?? 0,
      sold: fact?.soldUnits ?? 0,
      perSecond: isSpeedKnown ? ((seen.left - stock.left) * SECOND_MS) / (nowMs - seen.atMs) : undefined,
      inbound: Math.max(fact?.sentUnits ?? 0, memory.sent.get(shard)?.units ?? 0),
      wanted: this.#demand.wanted(saleId, shard),
      isDraining: fact?.isDraining === true,
      isHeld: fact?.receivedAgoMs !== null && fact !== undefined && fact.receivedAgoMs < memory.stay.holdMs,
      isMoving: stock?.movesApplied !== true,
    };
  }
}
