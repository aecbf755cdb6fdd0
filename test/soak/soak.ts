import { setMaxListeners } from "node:events";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Environment, PartEvent } from "../../deploy/local/index.ts";
import { DifferenceKind } from "../../workers/index.ts";
import { Crowd, type CrowdCounts } from "../harness/crowd.ts";
import { Draw } from "../harness/draw.ts";
import { StackWorld } from "../harness/stack-world.ts";
import { FaultNet } from "../harness/fault-net.ts";
import { judgeSale, within } from "../harness/verdict.ts";
import { planRound, type PlannedSale, type Round } from "./plan.ts";
import { disturbances, kills, redeliveries, type FaultDone, type Sample, type SoakReport, type Violation } from "./report.ts";
import { Troubles } from "./troubles.ts";
import { CounterWatch, memoryOfParts } from "./watch.ts";

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly shards: number;
  readonly buyersPerSecond: number;
  readonly roundSeconds: number;
  /** from the last fault to "everybody has an answer and everything is in Postgres" */
  readonly restSeconds: number;
  /** logs of the stack are copied here if a promise was broken */
  readonly folder: string;
  readonly command: string;
  readonly commit: string;
  readonly environment: Environment;
  readonly say: (line: string) => void;
}

const SAMPLE_MS = 5_000;
const AUDIT_MS = 5_000;
/** Draws of the buyers' habits begin anew with each sale. */
const SALES_A_ROUND = 10;
/** Enough to know what is broken. */
const VIOLATIONS_MOST = 50;

/** One run of the soak: its stack, what was seen and what was done. */
class Soak {
  readonly #options: SoakOptions;
  readonly #world: StackWorld;
  readonly #net: FaultNet;
  readonly #troubles: Troubles;
  readonly #stop: AbortSignal;
  readonly #draw: Draw;
  readonly #beganAt = performance.now();
  readonly #startedAt = new Date();
  readonly #counts: CrowdCounts = { requests: 0, silent: 0, later: 0, won: 0 };
  readonly #violations: Violation[] = [];
  readonly #faultLog: FaultDone[] = [];
  readonly #samples: Sample[] = [];
  readonly #alarms: Record<string, number> = {};
  readonly #audits = { ok: 0, storeAway: 0, unsettled: 0 };
  readonly #watch: CounterWatch;
  #crowds: readonly Crowd[] = [];
  #rounds = 0;
  #sales = 0;
  #purchases = 0;
  #units = 0;

  constructor(options: SoakOptions, world: StackWorld, net: FaultNet, troubles: Troubles, pages: readonly string[], stop: AbortSignal) {
    this.#options = options;
    this.#world = world;
    this.#net = net;
    this.#troubles = troubles;
    this.#stop = stop;
    this.#draw = new Draw(options.seed);
    this.#watch = new CounterWatch(pages);
  }

  /** Sells, round after round, until the time is over. */
  async run(): Promise<SoakReport> {
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, this.#stop]);
    const beside = [this.#every(SAMPLE_MS, () => this.#sample(), signal), this.#every(AUDIT_MS, () => this.#audit(), signal)];
    const untilMs = this.#beganAt + this.#options.minutes * 60_000;
    while (performance.now() < untilMs && !this.#stop.aborted && this.#violations.length < VIOLATIONS_MOST)
      await this.#round(untilMs).catch((error: Error) => this.#violate(error.message));
    await this.#sample();
    ended.abort();
    await Promise.all(beside);
    if (this.#violations.length > 0) await this.#keepLogs();
    return this.#report();
  }

  get #restMs(): number {
    return this.#options.restSeconds * 1_000;
  }

  #atS(): number {
    return Math.round((performance.now() - this.#beganAt) / 100) / 10;
  }

  #violate(text: string): void {
    // What ends because the user stopped the run is no violation.
    if (this.#stop.aborted) return;
    this.#violations.push({ atS: this.#atS(), text });
    this.#options.say(`VIOLATION at ${this.#atS()} s: ${text}`);
  }

  async #every(ms: number, turn: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await turn();
      await delay(ms, undefined, { signal }).catch(() => undefined);
    }
  }

  async #sample(): Promise<void> {
    await this.#watch.look();
    this.#heedAlarms();
    const { done } = this.#troubles;
    this.#samples.push({
      atS: this.#atS(),
      won: this.#counts.won,
      requests: this.#counts.requests,
      waiting: this.#crowds.reduce((sum, crowd) => sum + crowd.waiting, 0),
      kills: kills(done),
      pauses: done.pause,
      disturbances: disturbances(done),
      restarts: this.#world.stack.restarts,
      redeliveries: redeliveries(this.#watch.counters()),
      violations: this.#violations.length,
      memoryBytes: await memoryOfParts(this.#world.stack),
    });
  }

  /** The invariant violations that the engine itself found. */
  #heedAlarms(): void {
    for (const [what, times] of Object.entries(this.#watch.counters().alarms)) {
      const before = this.#alarms[what] ?? 0;
      if (times > before) this.#violate(`the engine counted ${what} ${times - before} times`);
      this.#alarms[what] = times;
    }
  }

  /** Alongside, also while stores are away: whatever it finds twice is a broken promise, unless a shard is just recovering. */
  async #audit(): Promise<void> {
    const report = await this.#world.audit().catch(() => undefined);
    if (report === undefined) {
      this.#audits.storeAway += 1;
      return;
    }
    const found = report.differences.filter(({ kind }) => kind !== DifferenceKind.unsettled);
    for (const { kind, saleId, shard, uid, detail } of found)
      this.#violate(`audit: ${kind} of ${saleId ?? "-"} on shard ${shard ?? "-"} ${uid ?? ""}: ${detail}`);
    if (found.length === 0) this.#audits[report.ok ? "ok" : "unsettled"] += 1;
  }

  async #round(untilMs: number): Promise<void> {
    const { stack } = this.#world;
    const { shards, buyersPerSecond, roundSeconds } = this.#options;
    const roundMs = Math.max(5_000, Math.min(roundSeconds * 1_000, untilMs - performance.now()));
    const pairs = this.#net.pairs;
    const round = planRound(this.#draw, { parts: stack.parts, pairs, shards, roundMs, buyersPerSecond }, ++this.#rounds);
    for (const { id, units, limit, shardCount } of round.sales) await this.#world.openSale(id, units, { limitPerBuyer: limit, shardCount });
    const over = new AbortController();
    const stop = AbortSignal.any([over.signal, this.#stop]);
    setMaxListeners(0, stop);
    this.#crowds = round.sales.map(({ id, buyers, limit }, n) => {
      const draw = new Draw(this.#options.seed + this.#rounds * SALES_A_ROUND + n);
      return new Crowd(this.#world, { saleId: id, buyers, limit }, this.#counts, draw, stop);
    });
    const share = buyersPerSecond / round.sales.length;
    const buying = Promise.all(this.#crowds.map((crowd) => crowd.run(share)));
    const added = Promise.all(round.sales.map((sale) => this.#addUnits(sale, roundMs / 2)));
    await this.#makeTrouble(round);
    try {
      await this.#calm();
      if (round.wipedShard >= 0)
        await within(this.#restMs, "P6: every buyer's answer before a Redis is wiped", this.#wipe(round.wipedShard));
      await within(this.#restMs, "P6: every buyer's answer", Promise.all([buying, added]));
      for (const [n, { units, added: more }] of round.sales.entries()) await this.#judge(this.#crowds[n] as Crowd, units + more);
    } finally {
      // Who has no answer by now is a broken promise, and may not keep the next round waiting.
      over.abort();
    }
    const seen = `${this.#purchases} purchases, ${this.#faultLog.length} faults, ${stack.restarts} restarts, ${this.#violations.length} violations`;
    this.#options.say(`round ${this.#rounds} at ${Math.round(this.#atS())} s: ${seen}`);
  }

  async #makeTrouble({ faults }: Round): Promise<void> {
    const beganAt = performance.now();
    await Promise.all(
      faults.map(async (fault) => {
        await delay(Math.max(0, fault.atMs - (performance.now() - beganAt)), undefined, { signal: this.#stop }).catch(() => undefined);
        if (this.#stop.aborted) return;
        this.#faultLog.push({ atS: this.#atS(), kind: fault.kind, target: fault.target, forMs: fault.forMs });
        await this.#troubles.make(fault, this.#stop);
      }),
    );
  }

  async #calm(): Promise<void> {
    this.#troubles.heal();
    if (!this.#stop.aborted) await this.#world.stack.ready(this.#restMs);
  }

  /** When everything that was told is in Postgres: what is not may not be taken away (DESIGN 1). */
  async #wipe(shard: number): Promise<void> {
    const releases = await Promise.all(this.#crowds.map((crowd) => crowd.hold()));
    for (const { saleId } of this.#crowds) await this.#world.auditAtRest(saleId);
    this.#faultLog.push({ atS: this.#atS(), kind: "wipe", target: `redis-${shard}`, forMs: 0 });
    await this.#troubles.wipe(shard);
    for (const release of releases) release();
  }

  async #addUnits({ id, added }: PlannedSale, afterMs: number): Promise<void> {
    if (added === 0) return;
    await delay(afterMs, undefined, { signal: this.#stop }).catch(() => undefined);
    // Idempotent by the grant's id: repeated until there is an answer.
    while (!this.#stop.aborted) {
      const done = await this.#world.admin(`/sales/${id}/units`, { grantId: "added", units: added }).then(
        () => true,
        () => false,
      );
      if (done) return;
      await delay(500);
    }
  }

  async #judge(crowd: Crowd, units: number): Promise<void> {
    await this.#world.auditAtRest(crowd.saleId);
    await within(this.#restMs, "P6: every answer to whoever asks again", crowd.secondChance());
    if (this.#stop.aborted) return;
    for (const violation of crowd.violations) this.#violate(violation);
    this.#purchases += await judgeSale(this.#world, crowd, units, this.#restMs, (violation) => this.#violate(violation));
    this.#sales += 1;
    this.#units += units;
  }

  async #keepLogs(): Promise<void> {
    await cp(join(this.#world.stack.folder, "logs"), join(this.#options.folder, "logs"), { recursive: true });
  }

  #report(): SoakReport {
    const { command, commit, seed, shards, restSeconds } = this.#options;
    return {
      command,
      commit,
      startedAt: this.#startedAt.toISOString(),
      seed,
      minutes: Math.round(this.#atS() / 6) / 10,
      shards,
      restSeconds,
      node: process.version,
      rounds: this.#rounds,
      sales: this.#sales,
      purchases: this.#purchases,
      unitsOnSale: this.#units,
      answers: this.#counts,
      faults: this.#troubles.done,
      restarts: this.#world.stack.restarts,
      counters: this.#watch.counters(),
      audits: this.#audits,
      violations: this.#violations,
      faultLog: this.#faultLog,
      samples: this.#samples,
    };
  }
}

/** Starts a stack with a proxy between each program and its stores, sells on it for so long, and ends everything. */
export const runSoak = async (options: SoakOptions, stop: AbortSignal): Promise<SoakReport> => {
  // each buyer and each fault sleeps on it: no leak
  setMaxListeners(0, stop);
  const net = new FaultNet();
  let troubles: Troubles | undefined;
  const world = await StackWorld.start({
    environment: { ...options.environment, DOORBUSTER_LOG_LEVEL: "info" },
    shards: options.shards,
    // a fault at a server is a fault at one shard
    redis: options.shards,
    route: net.route,
    abort: stop,
    onEvent: (event: PartEvent) => troubles?.onEvent(event),
  });
  try {
    troubles = new Troubles(world.stack, net);
    const pages = Object.values((await world.stack.info()).metrics);
    return await new Soak(options, world, net, troubles, pages, stop).run();
  } finally {
    await world.close();
    await net.close();
  }
};
