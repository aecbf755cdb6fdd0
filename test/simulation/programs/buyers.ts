import type { Outcome } from "../../../gateway/buy/outcome.ts";
import type { BuyerMemory } from "../audit/ledger.ts";
import type { Process } from "../kernel/process.ts";
import type { SalePlan } from "../options.ts";
import type { World } from "../world.ts";
import { arrive } from "./bus.ts";
import type { Counter } from "./gateway.ts";

const KEYS = ["a", "b"];

/** The crowd. A buyer who is not answered asks again, somewhere else, and remembers what it was told. */
export class Buyers {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Plans what they do until `untilMs`. */
  plan(acts: number, untilMs: number): void {
    const { kernel } = this.#world;
    for (let i = 0; i < acts; i += 1) kernel.at(kernel.nowMs + kernel.draw.fraction() * (untilMs - kernel.nowMs), () => this.act());
  }

  /** One of them does something somewhere. */
  act(): void {
    const { draw } = this.#world.kernel;
    const { sales, buyers } = this.#world.options;
    const sale = draw.pick(sales);
    const uid = `u${draw.below(buyers)}`;
    const key = sale.limit > 1 ? draw.pick(KEYS) : "";
    const memory = this.#world.ledger.of(sale.id, uid, key);
    this.#visit((counter) => {
      if (draw.chance(0.2)) this.#ask(counter, memory, () => undefined);
      else this.#buy(counter, sale, memory);
    });
  }

  /** Asks what a buyer's standing is until a gateway says. */
  askFinally(memory: BuyerMemory, done: (outcome: Outcome) => void): void {
    this.#visit((counter) =>
      this.#ask(counter, memory, (outcome) => {
        if (["none", "confirmed", "rejected", "reserved"].includes(outcome.code)) done(outcome);
        else this.#world.kernel.after(300, () => this.askFinally(memory, done));
      }),
    );
  }

  /** Wants one unit, wherever it is, until there is one or none. */
  buyFinally(saleId: string, uid: string, isSoldOut: () => boolean, done: () => void): void {
    const memory = this.#world.ledger.of(saleId, uid, "");
    this.#visit((counter) =>
      counter.buy({ saleId, uid, key: "", units: 1 }, (outcome) => {
        this.#hear(memory, outcome, memory.orderId);
        if (outcome.orderId !== undefined || isSoldOut()) done();
        else this.#world.kernel.after(300, () => this.buyFinally(saleId, uid, isSoldOut, done));
      }),
    );
  }

  #ask(counter: Counter, memory: BuyerMemory, then: (outcome: Outcome) => void): void {
    const before = memory.orderId;
    counter.standing(memory.saleId, memory, (outcome) => {
      this.#hear(memory, outcome, before);
      then(outcome);
    });
  }

  #buy(counter: Counter, sale: SalePlan, memory: BuyerMemory): void {
    const { draw } = this.#world.kernel;
    const { saleId, uid, key } = memory;
    const units = sale.limit > 1 && draw.chance(0.3) ? 2 : 1;
    const before = memory.orderId;
    const waits = draw.chance(0.25);
    if (draw.chance(0.25)) counter.watch(saleId, uid, (final) => this.#hearPush(memory, final));
    let isNow = true;
    counter.buy({ saleId, uid, key, units, waits }, (outcome) => {
      // said without asking Redis: believed of the whole sale
      if (isNow && outcome.code === "sold_out") this.#world.ledger.believedSoldOut(saleId);
      this.#hear(memory, outcome, before);
      if (waits && outcome.code === "reserved" && outcome.orderId !== undefined) this.#wait(counter, memory, outcome.orderId);
    });
    isNow = false;
  }

  #wait(counter: Counter, memory: BuyerMemory, orderId: string): void {
    counter.wait(memory.saleId, memory, orderId, (final) => {
      // it did not survive: the same as to hear that there is none
      if (final.code === "not_survived") this.#hear(memory, { code: "none" }, orderId);
      else this.#hear(memory, final, undefined);
    });
  }

  /** A push names the order; which of the buyer's purchases it was is known by that. */
  #hearPush({ saleId, uid, key }: BuyerMemory, outcome: Outcome): void {
    this.#world.count("pushed");
    const memory =
      key === ""
        ? this.#world.ledger.of(saleId, uid, "")
        : KEYS.map((one) => this.#world.ledger.of(saleId, uid, one)).find(({ orderId }) => orderId === outcome.orderId);
    if (memory !== undefined) this.#hear(memory, outcome, undefined);
  }

  #hear(memory: BuyerMemory, outcome: Outcome, before: string | undefined): void {
    this.#world.say(() => `${memory.uid} of ${memory.saleId} hears ${outcome.code} ${outcome.orderId ?? ""}`);
    this.#world.count(`told ${outcome.code}`);
    this.#world.ledger.hear(memory, outcome, before);
  }

  #visit(visit: (counter: Counter) => void): void {
    const { kernel, counters } = this.#world;
    const up = [...counters.keys()].filter((process: Process) => process.isUp);
    if (up.length === 0) return;
    const { life } = kernel.draw.pick(up);
    if (life === undefined) return;
    arrive(kernel, life, kernel.draw.fraction() * 3, () => {
      const counter = counters.get(life.process);
      if (counter !== undefined) visit(counter);
    });
  }
}
