import type { SaleRecord } from "#protocol/sale";
import { auditAtRest } from "./audit/auditor.ts";
import { planFaults } from "./faults/inject.ts";
import { BEGINNING_MS, type Say } from "./kernel/kernel.ts";
import { CALM } from "./kernel/weather.ts";
import type { Options, SalePlan } from "./options.ts";
import type { Result, Running } from "./result.ts";
import type { Postgres } from "./postgres/postgres.ts";
import { Buyers } from "./programs/buyers.ts";
import { coordinatorProgram } from "./programs/coordinator.ts";
import { gatewayProgram, type Counter } from "./programs/gateway.ts";
import { workerProgram } from "./programs/worker.ts";
import { latch } from "./redis/index.ts";
import { World, type Twins } from "./world.ts";

/** How long healing may take, in simulated time: no progress for 15 s is noticed, and an ack is waited for 10 s. */
const HEAL_MS = 90_000;
const LOOK_MS = 150;
const SETTLED_MS = 12_000;
const LATE_WITHIN_MS = 3_000;
/** An installation that has looked at rest so often is. */
const QUIET_LOOKS = 4;
/** How often the shop reports payments. */
const SHOP_MS = 300;
/** After a sale has closed it is archived within a second or so. */
const REFUNDS_MS = 6_000;

const recordOf = ({ id, units, limit, opensAtMs }: Options["sales"][number]): SaleRecord => ({
  id,
  campaign: "c",
  title: "t",
  totalUnits: units.reduce((a, b) => a + b, 0),
  priceMinor: 0,
  currency: "CNY",
  opensAtMs: opensAtMs === 0 ? 0 : BEGINNING_MS + opensAtMs,
  closesAtMs: Number.MAX_SAFE_INTEGER,
  limitPerBuyer: limit,
  payWithinMs: 0,
  state: "open",
  shards: units.flatMap((count, shard) => (count > 0 ? [shard] : [])),
  version: 1,
});

/** One seed's schedule: chaos, healing, rest, audit. */
export class Schedule implements Running {
  readonly world: World;
  readonly #buyers: Buyers;
  #phase: "chaos" | "healing" | "asking" | "over" = "chaos";
  #healedAtMs = 0;
  #hasSlept = false;
  #quiet = 0;
  #asking = 0;

  constructor(options: Options, twins?: Twins, say?: Say) {
    this.world = new World(options, twins, say);
    this.#buyers = new Buyers(this.world);
    this.#begin();
  }

  step(): boolean {
    const { kernel, ledger } = this.world;
    if (this.#phase === "over") return false;
    do {
      if (!kernel.step()) ledger.violate("L_NOTHING_LEFT", "no step is planned");
      if (ledger.violations.length === 0) continue;
      this.#phase = "over";
      return false;
    } while (kernel.isQuiet);
    return true;
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
    for (const sale of sales) world.bucket.set(sale.id, sale);
    for (let i = 0; i < options.coordinators; i += 1) world.add(coordinatorProgram(world, `coordinator${i}`, sales));
    for (let i = 0; i < options.workers; i += 1) world.add(workerProgram(world, `worker${i}`));
    for (let i = 0; i < options.gateways; i += 1) world.add(gatewayProgram(world, `gateway${i}`));
    for (const process of world.processes) kernel.after(kernel.draw.fraction() * 100, () => process.start());
    world.weather = options.weather;
    planFaults(world);
    for (let i = 0; i < options.added; i += 1) {
      const sale = kernel.draw.pick(sales);
      kernel.after(kernel.draw.fraction() * options.chaosMs, () =>
        postgres.addUnits(sale.id, `added${i}`, 1, kernel.draw.pick(sale.shards)),
      );
    }
    for (const { id, closedAtMs } of options.sales) if (closedAtMs !== undefined) kernel.at(closedAtMs, () => this.#end(id));
    this.#buyers.plan(options.acts, options.chaosMs);
    kernel.at(options.chaosMs, () => this.#heal());
  }

  /** An operator closes a sale; from then on the shop is paid for what was sold, and takes some of it back. */
  #end(saleId: string): void {
    const { kernel, options, postgres } = this.world;
    if (!postgres.isUp) {
      kernel.after(SHOP_MS, () => this.#end(saleId));
      return;
    }
    this.world.say(() => `CLOSE ${saleId}`);
    postgres.closeSale(saleId);
    this.#pay(saleId);
    for (let i = 0; i < (options.refunds ?? 0); i += 1) kernel.after(kernel.draw.logarithmic(100, REFUNDS_MS), () => this.#refund(saleId));
  }

  #pay(saleId: string): void {
    const { kernel, postgres } = this.world;
    if (postgres.isUp) postgres.payAll(saleId);
    kernel.after(SHOP_MS, () => this.#pay(saleId));
  }

  #refund(saleId: string): void {
    const { kernel, postgres } = this.world;
    const paid = postgres.orders.filter((order) => order.saleId === saleId && order.state === "paid");
    if (postgres.isUp && paid.length > 0) postgres.refund(kernel.draw.pick(paid));
  }

  #heal(): void {
    const { world } = this;
    const { kernel } = world;
    world.say(() => "HEAL");
    this.#phase = "healing";
    this.#healedAtMs = kernel.nowMs;
    this.#quiet = 0;
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
    if (this.#quiet >= QUIET_LOOKS && this.#phase === "healing" && kernel.nowMs > this.#healedAtMs + 3_500) {
      if (options.daysMs > 0 && !this.#hasSlept) {
        this.#sleep();
        return;
      }
      this.#askAll();
    }
    if (this.#phase === "asking" && this.#asking === 0 && this.#quiet > 0 && !world.news.isOwed) {
      auditAtRest(world);
      this.#phase = "over";
      return;
    }
    const stuck = why === "" ? (this.#asking > 0 ? "ASKING" : "NEWS") : why;
    if (kernel.nowMs > this.#healedAtMs + HEAL_MS) ledger.violate(`STUCK_${stuck}`, "not at rest in time");
    kernel.after(LOOK_MS, () => this.#look());
  }

  /** Nothing runs for days. Then, while the processes start, what was on its way for so long arrives. */
  #sleep(): void {
    const { world } = this;
    const { kernel, options, processes } = world;
    world.count("days");
    this.#hasSlept = true;
    for (const process of processes) process.kill();
    // what the stores have still to do of themselves, as handing out what was not acked, is soon done
    kernel.after(SETTLED_MS, () => {
      world.say(() => "DAYS LATER");
      kernel.jump(options.daysMs, LATE_WITHIN_MS);
      for (const process of processes) kernel.after(kernel.draw.fraction() * LATE_WITHIN_MS, () => process.start());
      kernel.after(LATE_WITHIN_MS, () => this.#heal());
    });
  }

  /** Everybody who was ever told of an order reads it once more (P1). */
  #askAll(): void {
    this.#phase = "asking";
    for (const memory of this.world.ledger.memories.values()) {
      if (memory.orderId === undefined) continue;
      this.#asking += 1;
      this.#buyers.askFinally(memory, () => {
        this.#asking -= 1;
      });
    }
    for (const sale of this.world.options.sales) this.#buyLast(sale);
    for (const counter of this.world.counters.values()) {
      this.#asking += 1;
      this.#untilSelling(counter);
    }
  }

  /** A gateway knows the sales, and refuses strangers of those that are flagged as sold out without asking Redis (DESIGN 8). */
  #untilSelling(counter: Counter): void {
    const { options, postgres, kernel } = this.world;
    const flagged = options.soldOut ? postgres.flags() : [];
    if (counter.isReady() && flagged.every(({ saleId }) => counter.refuses(saleId))) this.#asking -= 1;
    else kernel.after(LOOK_MS, () => this.#untilSelling(counter));
  }

  /** A unit that is left on any shard is sold to a buyer of whichever shard (DESIGN 7.3). */
  #buyLast({ id, units, limit, closedAtMs }: SalePlan): void {
    const { options, postgres, kernel } = this.world;
    const isDealt = units.filter((count) => count > 0).length > 1;
    if (!options.mover || !isDealt || limit > 1 || closedAtMs !== undefined) return;
    // others may still be asking, and take it
    const isSoldOut = (): boolean => isAllSold(postgres, id);
    if (isSoldOut()) return;
    this.#asking += 1;
    this.#buyers.buyFinally(id, `last${kernel.draw.below(8)}`, isSoldOut, () => {
      this.#asking -= 1;
    });
  }
}

const isAllSold = (postgres: Postgres, id: string): boolean =>
  postgres.saleShards.every(({ saleId, quota, sold }) => saleId !== id || quota === sold);

/** Why the installation is not at rest; empty if it is. */
const unrest = ({ nodes, postgres, processes, options, bucket }: World): string => {
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
  // every unit is sold: whoever watches says so
  for (const [saleId, { soldOutVersion, closedAtMs }] of options.soldOut ? postgres.sales : [])
    if (soldOutVersion === null && closedAtMs === null && isAllSold(postgres, saleId)) return "FLAG";
  // what is over leaves Redis and the bucket
  for (const { id, closedAtMs } of options.sales)
    if (closedAtMs !== undefined && postgres.sales.get(id)?.archived !== true) return "ARCHIVE";
  if (postgres.saleShards.some(({ droppedEpoch }) => droppedEpoch === 0)) return "DROP";
  if ([...postgres.sales].some(([saleId, { archived }]) => archived && bucket.has(saleId))) return "BUCKET";
  return processes.some((process) => process.isUp && !process.isPaused) ? "" : "PROCESSES";
};
