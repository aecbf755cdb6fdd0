import type { Sent } from "../../../coordinator/client/message.ts";
import type { Verdict } from "../../../coordinator/messages/machine.ts";
import { isFinished, type MessageRecord } from "../../../coordinator/messages/record.ts";
import { Kernel, type Say } from "../kernel/kernel.ts";
import { Process } from "../kernel/process.ts";
import { allOps, CALM, type Network, type Target, type Trap, type Weather } from "../kernel/wire.ts";
import { buyerProgram } from "./buyer.ts";
import { CoordinatorProgram } from "./coordinator.ts";
import { Participant } from "./participant.ts";
import { MESSAGE_RULES, type MessageRules } from "./rules.ts";
import { MessageShard } from "./shard.ts";

const SHARDS = 3;
const CHAOS_MS = 15_000;
const MONTH_MS = 30 * 86_400_000;
const CALM_MOST_MS = 180_000;
const LOOK_MS = 500;
const BAD: Weather = { lost: 0.01, unanswered: 0.02, late: 0.02, refused: 0.01, repeated: 0, overtaking: 0.03, slow: 0.1 };

export interface Violation {
  readonly kind: string;
  readonly detail: string;
}

/** The endpoints of the users' services: the query URL, and the branch, which may fail. */
class Services implements Target {
  readonly name = "services";
  readonly run = 1;
  readonly isUp = true;
  readonly delivered = new Map<string, number>();
  readonly #world: MessageWorld;

  constructor(world: MessageWorld) {
    this.#world = world;
  }

  #mood(): Verdict | undefined {
    const { kernel, weather } = this.#world;
    if (weather === CALM || kernel.draw.chance(0.8)) return undefined;
    return kernel.draw.pick(["ongoing", "error"]);
  }

  ask(gid: string): Verdict {
    const mood = this.#mood();
    if (mood !== undefined) return mood;
    return this.#world.participant.query(`${gid}-00-msg-01`) === "OK" ? "success" : "failure";
  }

  deliver(gid: string): Verdict {
    if (!this.#world.participant.happened(gid)) this.#world.violate("GHOST", `${gid} was delivered, its step has not happened`);
    const mood = this.#mood();
    if (mood !== undefined) return mood;
    this.delivered.set(gid, (this.delivered.get(gid) ?? 0) + 1);
    return "success";
  }
}

/**
 * Two-phase messages under faults: buyers with one gid each, sent several times over, a stock that runs dry and is filled
 * up, coordinators that crash, pause, and come back with another number of shards, a month in which none runs.
 */
export class MessageWorld implements Network {
  readonly kernel: Kernel;
  readonly rules: MessageRules;
  readonly shards: readonly MessageShard[];
  readonly participant: Participant;
  readonly services: Services;
  readonly coordinators: readonly CoordinatorProgram[];
  readonly traps: (Trap[] | undefined)[] = [];
  readonly violations: Violation[] = [];
  readonly faults = new Map<string, number>();
  weather: Weather = BAD;
  readonly #processes: Process[] = [];
  readonly #cuts = new Map<string, number>();
  readonly #gids: readonly string[];
  /** whether each gid was ever past being prepared, and how */
  readonly #ways = new Map<string, "submitted" | "failed">();
  readonly #isRolling: boolean;
  #acts: number;
  #total: number;
  #isOver = false;
  #healedAtMs = 0;
  #quiet = 0;

  constructor(seed: number, rules: Partial<MessageRules> = {}, say?: Say) {
    this.kernel = new Kernel(seed, say);
    this.rules = { ...MESSAGE_RULES, ...rules };
    const { draw } = this.kernel;
    this.shards = Array.from({ length: SHARDS }, (_, shard) => new MessageShard(this.kernel, shard, this.rules, this.#stored));
    this.#total = draw.between(0, 4);
    this.participant = new Participant(this.#total, this.rules);
    this.services = new Services(this);
    this.#gids = Array.from({ length: draw.between(3, 8) }, (_, i) => `gid-${seed}-${i}`);
    this.#acts = draw.between(10, 40);
    this.#isRolling = draw.chance(0.5);
    this.coordinators = Array.from({ length: draw.between(2, 3) }, (_, i) => new CoordinatorProgram(this, `coordinator${i}`));
    for (const program of this.coordinators) this.#processes.push(new Process(this.kernel, program));
    for (let i = 0; i < 2; i += 1) this.#processes.push(new Process(this.kernel, buyerProgram(this, `buyer${i}`)));
    for (const process of this.#processes) this.kernel.after(draw.fraction() * 200, () => process.start());
    this.#plan();
  }

  readonly count = (fault: string): void => {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
  };

  say(line: () => string): void {
    this.kernel.say?.(this.kernel.nowMs, line());
  }

  violate(kind: string, detail: string): void {
    this.say(() => `VIOLATION ${kind} ${detail}`);
    this.violations.push({ kind, detail });
  }

  /** Stores that are away are part of life; a broken port is not. */
  fault(where: string, error: unknown): void {
    if (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError)
      this.violate("BROKEN", `${where}: ${error.stack ?? error.message}`);
    this.say(() => `${where}: ${String(error)}`);
  }

  isCut(process: Process, target: string): boolean {
    return (this.#cuts.get(`${process.name} ${target}`) ?? 0) > this.kernel.nowMs;
  }

  /** By how many shards the next life of a coordinator places messages. */
  countOf(): number {
    return this.#isRolling ? this.kernel.draw.between(2, SHARDS) : SHARDS;
  }

  nextGid(): string | undefined {
    if (this.#acts <= 0) return undefined;
    this.#acts -= 1;
    return this.kernel.draw.pick(this.#gids);
  }

  told(gid: string, sent: Sent): void {
    this.count(`told ${sent.status}`);
    this.say(() => `told ${gid} ${JSON.stringify(sent)}`);
    const happened = this.participant.happened(gid);
    if (happened !== (sent.status === "submitted"))
      this.violate("TOLD", `${gid}: ${sent.status}, the step ${happened ? "happened" : "did not"}`);
  }

  /** A coordinator starts a call: it must hold the lease of the message's shard, in truth. */
  callStarts(gid: string, tokenOf: (shard: number) => string): void {
    const at = this.shards.filter((shard) => shard.messages.has(gid));
    const isHeld = at.some(({ shard, lease, nowMs }) => lease?.token === tokenOf(shard) && lease.untilMs >= nowMs);
    if (at.length > 0 && !isHeld) this.violate("LEASE", `${gid}: a call was started without the lease`);
  }

  /** @returns false when it is over */
  step(): boolean {
    if (this.#isOver || this.violations.length > 0) return false;
    if (!this.kernel.step()) this.violate("NOTHING_LEFT", "no step is planned");
    return true;
  }

  readonly #stored = (shard: number, gid: string, before: MessageRecord | undefined, after: MessageRecord): void => {
    this.say(() => `shard ${shard} ${gid} ${before?.state ?? "none"} -> ${after.state} ${after.branchDoneAtMs.join()}`);
    if (this.shards.some((other) => other.shard !== shard && other.messages.has(gid))) this.violate("TWO_RECORDS", gid);
    if (after.state === "prepared") return;
    const way = after.state === "failed" ? "failed" : "submitted";
    const earlier = this.#ways.get(gid) ?? way;
    this.#ways.set(gid, way);
    if (earlier !== way) this.violate("TWO_WAYS", `${gid}: ${earlier}, then ${way}`);
  };

  #plan(): void {
    const { kernel } = this;
    const { draw } = kernel;
    const strike = (): void => {
      const process = draw.pick(this.#processes);
      const kind = draw.pick(["crash", "crash", "pause", "cut", "redis restart"] as const);
      this.count(kind);
      if (kind === "crash") process.crash(draw.logarithmic(10, 3_000));
      else if (kind === "pause") process.pause(draw.logarithmic(10, 12_000));
      else if (kind === "cut")
        this.#cuts.set(
          `${process.name} ${draw.pick([...this.shards, this.participant, this.services]).name}`,
          kernel.nowMs + draw.logarithmic(10, 6_000),
        );
      else draw.pick(this.shards).restart(draw.logarithmic(10, 2_000));
    };
    for (let i = draw.between(1, 8); i > 0; i -= 1) kernel.at(draw.fraction() * CHAOS_MS, strike);
    // at a step of the protocol itself
    for (let i = draw.between(1, 4); i > 0; i -= 1) {
      const { id } = draw.pick(allOps());
      const spring = (caller: Process): boolean => {
        if (draw.chance(0.5)) {
          this.count("trap crash");
          caller.crash(draw.logarithmic(10, 3_000));
          return true;
        }
        this.count("trap pause");
        caller.pause(draw.logarithmic(10, 12_000));
        return false;
      };
      (this.traps[id] ??= []).push({ countdown: draw.between(1, 20), when: draw.pick(["before", "after"]), spring });
    }
    for (let i = draw.between(0, 3); i > 0; i -= 1)
      kernel.at(draw.fraction() * CHAOS_MS, () => {
        this.participant.stock += 1;
        this.#total += 1;
      });
    kernel.at(CHAOS_MS, () => {
      this.traps.length = 0;
      if (!draw.chance(0.2)) return this.#heal();
      this.count("month");
      // what is prepared or submitted lies there for a month; nobody buys meanwhile
      this.#acts = 0;
      const end = (): void => {
        for (const process of this.#processes) process.crash(MONTH_MS);
      };
      end();
      // those that were down just then have come back meanwhile
      kernel.after(4_000, end);
      kernel.after(MONTH_MS + 5_000, () => this.#heal());
      return undefined;
    });
  }

  #heal(): void {
    this.say(() => "HEAL");
    this.weather = CALM;
    this.#cuts.clear();
    this.#healedAtMs = this.kernel.nowMs;
    this.kernel.after(LOOK_MS, () => this.#look());
  }

  #look(): void {
    const open = this.shards.flatMap(({ messages }) => [...messages].filter(([, { record }]) => !isFinished(record.state)));
    this.#quiet = open.length === 0 && this.#acts <= 0 ? this.#quiet + 1 : 0;
    if (this.kernel.nowMs > this.#healedAtMs + CALM_MOST_MS)
      this.violate("STRANDED", open.map(([gid, { record }]) => `${gid} ${record.state}`).join());
    // longer than any buyer's step or try
    else if (this.#quiet * LOOK_MS < 20_000) this.kernel.after(LOOK_MS, () => this.#look());
    else this.#audit();
  }

  #audit(): void {
    this.#isOver = true;
    let sold = 0;
    for (const gid of this.#gids) {
      const happened = this.participant.happened(gid);
      const delivered = this.services.delivered.get(gid) ?? 0;
      if (happened) sold += 1;
      if (happened && delivered === 0) this.violate("NOT_DELIVERED", `${gid}: the step happened`);
      if (happened !== (this.#ways.get(gid) === "submitted")) this.violate("WRONG_END", `${gid}: ${this.#ways.get(gid)}, step ${happened}`);
    }
    if (this.participant.stock + sold !== this.#total) this.violate("UNITS", `${this.participant.stock} + ${sold} of ${this.#total}`);
  }
}
