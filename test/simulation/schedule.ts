import type { SaleRecord } from "../../coordinator/protocol/sale.ts";
import { auditAtRest } from "./audit/auditor.ts";
import type { Violation } from "./audit/ledger.ts";
import { planFaults } from "./faults/strike.ts";
import type { Say } from "./kernel/kernel.ts";
import { CALM } from "./kernel/wire.ts";
import type { Options } from "./options.ts";
import { Buyers } from "./programs/buyers.ts";
import { coordinatorProgram } from "./programs/coordinator.ts";
import { gatewayProgram } from "./programs/gateway.ts";
import { workerProgram } from "./programs/worker.ts";
import { latch } from "./redis/index.ts";
import { World, type Twins } from "./world.ts";

export interface Result {
  readonly options: Options;
  readonly steps: number;
  readonly hash: number;
  readonly violations: readonly Violation[];
  readonly faults: ReadonlyMap<string, number>;
}

/** How long healing may take, in simulated time: no progress for 15 s is noticed, and an ack is waited for 10 s. */
const HEAL_MS = 90_000;
const LOOK_MS = 150;
/** An installation that has looked at rest so often is. */
const QUIET_LOOKS = 4;

const recordOf = ({ id, units, limit }: Options["sales"][number]): SaleRecord => ({
  id,
  campaign: "c",
  title: "t",
  totalUnits: units.reduce((a, b) => a + b, 0),
  priceMinor: 0,
  currency: "CNY",
  opensAtMs: 0,
  closesAtMs: Number.MAX_SAFE_INTEGER,
  limitPerBuyer: limit,
  payWithinMs: 0,
  state: "open",
  shards: units.flatMap((count, shard) => (count > 0 ? [shard] : [])),
  version: 1,
});

/** One seed's schedule: chaos, healing, rest, audit. */
export class Schedule {
  readonly world: World;
  readonly #buyers: Buyers;
  #phase: "chaos" | "healing" | "asking" | "over" = "chaos";
  #quiet = 0;
  #asking = 0;

  constructor(options: Options, twins?: Twins, say?: Say) {
    this.world = new World(options, twins, say);
    this.#buyers = new Buyers(this.world);
    this.#begin();
  }

  /** Does one step; the promises that it settles must run before the next. @returns false when the schedule has ended */
  step(): boolean {
    const { world } = this;
    if (this.#phase === "over") return false;
    if (!world.kernel.step()) world.ledger.violate("L_NOTHING_LEFT", "no step is planned");
    else if (world.ledger.violations.length === 0) return true;
    this.#phase = "over";
    return false;
  }

  result(): Result {
    const { options, kernel, ledger, faults } = this.world;
    return { options, steps: kernel.steps, hash: kernel.hash >>> 0, violations: ledger.violations, faults };
  }

  #begin(): void {
    const { world } = this;
    const { options, kernel, postgres } = world;
    const sales = options.sales.map((sale) => recordOf(sale));
    for (const [i, sale] of sales.entries())
      postgres.openSale(
        sale,
        (options.sales[i]?.units ?? []).filter((count) => count > 0),
      );
    for (let i = 0; i < options.coordinators; i += 1) world.add(coordinatorProgram(world, `coordinator${i}`, sales));
    for (let i = 0; i < options.workers; i += 1) world.add(workerProgram(world, `worker${i}`));
    for (let i = 0; i < options.gateways; i += 1) world.add(gatewayProgram(world, `gateway${i}`, sales));
    for (const process of world.processes) kernel.after(kernel.draw.fraction() * 100, () => process.start());
    world.weather = options.weather;
    planFaults(world);
    for (let i = 0; i < options.added; i += 1) {
      const sale = kernel.draw.pick(sales);
      kernel.after(kernel.draw.fraction() * options.chaosMs, () =>
        postgres.addUnits(sale.id, `added${i}`, 1, kernel.draw.pick(sale.shards)),
      );
    }
    this.#buyers.plan(options.acts, options.chaosMs);
    kernel.at(options.chaosMs, () => this.#heal());
  }

  #heal(): void {
    const { world } = this;
    const { kernel } = world;
    world.say(() => "HEAL");
    this.#phase = "healing";
    world.weather = CALM;
    world.mend();
    this.#buyers.plan(world.options.acts / 2, kernel.nowMs + 3_000);
    kernel.after(LOOK_MS, () => this.#look());
  }

  #look(): void {
    const { world } = this;
    const { kernel, options, ledger } = world;
    const why = unrest(world);
    this.#quiet = why === "" ? this.#quiet + 1 : 0;
    if (this.#quiet >= QUIET_LOOKS && this.#phase === "healing" && kernel.nowMs > options.chaosMs + 3_500) this.#askAll();
    if (this.#phase === "asking" && this.#asking === 0 && this.#quiet > 0) {
      auditAtRest(world);
      this.#phase = "over";
      return;
    }
    if (kernel.nowMs > options.chaosMs + HEAL_MS) ledger.violate(`STUCK_${why === "" ? "ASKING" : why}`, "not at rest in time");
    kernel.after(LOOK_MS, () => this.#look());
  }

  /** Everybody who was ever told of an order reads it once more (P1). */
  #askAll(): void {
    this.#phase = "asking";
    for (const told of this.world.ledger.told.values()) {
      if (told.orderId === undefined) continue;
      this.#asking += 1;
      this.#buyers.askFinally(told, () => {
        this.#asking -= 1;
      });
    }
  }
}

/** Why the installation is not at rest; empty if it is. */
const unrest = ({ nodes, postgres, processes }: World): string => {
  for (const { current, old, shard } of nodes) {
    const row = postgres.shardRow(shard);
    const { data } = current;
    if (old?.isUp === true) return "OLD_SERVER";
    if (data.epoch !== row.epoch) return "EPOCH";
    if (latch(current) === 0) return "CLOSED";
    if (data.outbox.length > 0 || data.last?.seq !== row.applied) return "OUTBOX";
    if (data.applied.epoch !== row.epoch || data.applied.seq !== row.applied) return "SETTLE";
  }
  for (const grant of postgres.grants.values()) if (grant.state === "sent") return "GRANT";
  return processes.some((process) => process.isUp && !process.isPaused) ? "" : "PROCESSES";
};
