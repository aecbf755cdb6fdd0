import type { Sent } from "../../../coordinator/messages/client/message.ts";
import type { Verdict } from "../../../coordinator/messages/machine.ts";
import { isFinished, type MessageRecord } from "../../../coordinator/messages/record.ts";
import { Kernel, type Say } from "../kernel/kernel.ts";
import { Process } from "../kernel/process.ts";
import { opsOf, Scene, type Network, type Target, type Trap } from "../kernel/wire.ts";
import { CALM, type Weather } from "../kernel/weather.ts";
import { buyerProgram } from "./buyer.ts";
import { CoordinatorProgram } from "./coordinator.ts";
import { Participant } from "./participant.ts";
import type { Result, Running } from "../result.ts";
import type { Violation } from "../violation.ts";
import { MessageFaultKind, type MessageFault, type MessageOptions } from "./options.ts";
import { MESSAGE_RULES, type MessageRules } from "./rules.ts";
import { MessageShard } from "./shard.ts";

const CALM_MOST_MS = 180_000;
const LOOK_MS = 500;
const SETTLED_MS = 4_000;
const LATE_WITHIN_MS = 3_000;

/** A message only goes on, and its end is final. */
const RANKS = { prepared: 0, submitted: 1, succeed: 2, failed: 2 } as const;

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
 * up, coordinators that crash, pause, and come back with another number of shards, days in which none runs.
 */
export class MessageWorld implements Network, Running {
  readonly kernel: Kernel;
  readonly options: MessageOptions;
  readonly daysPass: boolean;
  readonly rules: MessageRules;
  readonly shards: readonly MessageShard[];
  readonly participant: Participant;
  readonly services: Services;
  readonly coordinators: readonly CoordinatorProgram[];
  readonly traps: (Trap[] | undefined)[] = [];
  readonly violations: Violation[] = [];
  readonly faults = new Map<string, number>();
  weather: Weather;
  readonly #processes: Process[] = [];
  readonly #cuts = new Map<string, number>();
  readonly #gids: readonly string[];
  /** whether each gid was ever past being prepared, and how */
  readonly #ways = new Map<string, "submitted" | "failed">();
  #acts: number;
  #total: number;
  #isOver = false;
  #healedAtMs = 0;
  #quiet = 0;

  constructor(options: MessageOptions, rules: Partial<MessageRules> = {}, say?: Say) {
    const { seed, shards, coordinators, buyers, gids, acts, stock, daysMs, weather } = options;
    this.options = options;
    this.daysPass = daysMs > 0;
    this.weather = weather;
    this.kernel = new Kernel(seed, say);
    this.rules = { ...MESSAGE_RULES, ...rules };
    const { draw } = this.kernel;
    this.shards = Array.from({ length: shards }, (_, shard) => new MessageShard(this.kernel, shard, this.rules, this.#stored));
    this.#total = stock;
    this.participant = new Participant(stock, this.rules);
    this.services = new Services(this);
    this.#gids = Array.from({ length: gids }, (_, i) => `gid-${seed}-${i}`);
    this.#acts = acts;
    this.coordinators = Array.from({ length: coordinators }, (_, i) => new CoordinatorProgram(this, `coordinator${i}`));
    for (const program of this.coordinators) this.#processes.push(new Process(this.kernel, program));
    for (let i = 0; i < buyers; i += 1) this.#processes.push(new Process(this.kernel, buyerProgram(this, `buyer${i}`)));
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
    this.violations.push({ kind, detail, atMs: this.kernel.nowMs });
  }

  /** Stores that are away are part of life; a broken port is not. */
  fault(where: string, error: unknown): void {
    if (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError)
      this.violate("BROKEN", `${where}: ${error.stack ?? error.message}`);
    this.say(() => `${where}: ${String(error)}`);
  }

  isCut(process: Process, target: string): boolean {
    return this.#cuts.size > 0 && (this.#cuts.get(`${process.name} ${target}`) ?? 0) > this.kernel.nowMs;
  }

  /** By how many shards the next life of a coordinator places messages. */
  countOf(): number {
    const { isRolling, shards } = this.options;
    return isRolling ? this.kernel.draw.between(2, shards) : shards;
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

  step(): boolean {
    if (this.#isOver) return false;
    do {
      if (!this.kernel.step()) this.violate("NOTHING_LEFT", "no step is planned");
      if (this.violations.length > 0) return false;
    } while (this.kernel.isQuiet);
    return true;
  }

  result(): Result {
    const { options, kernel, violations, faults } = this;
    return { options, steps: kernel.steps, hash: kernel.hash >>> 0, violations, faults };
  }

  readonly #stored = (shard: number, gid: string, before: MessageRecord | undefined, after: MessageRecord): void => {
    this.say(() => `shard ${shard} ${gid} ${before?.state ?? "none"} -> ${after.state} ${after.branchDoneAtMs.join()}`);
    if (this.shards.some((other) => other.shard !== shard && other.messages.has(gid))) this.violate("TWO_RECORDS", gid);
    if (before !== undefined && RANKS[after.state] < RANKS[before.state])
      this.violate("BACKWARDS", `${gid}: ${before.state}, then ${after.state}`);
    if (after.state === "prepared") return;
    const way = after.state === "failed" ? "failed" : "submitted";
    const earlier = this.#ways.get(gid) ?? way;
    this.#ways.set(gid, way);
    if (earlier !== way) this.violate("TWO_WAYS", `${gid}: ${earlier}, then ${way}`);
  };

  /** @returns whether the process that it was injected into is gone */
  #inject({ kind, process: name, target, ms, trap }: MessageFault, caller?: Process): boolean {
    const process = caller ?? this.#processes.find((one) => one.name === name);
    this.count(trap === undefined ? kind : `trap ${kind}`);
    if (kind === MessageFaultKind.redisRestart) this.shards.find((shard) => shard.name === target)?.restart(ms);
    else if (kind === MessageFaultKind.cut) this.#cuts.set(`${name} ${target}`, this.kernel.nowMs + ms);
    else if (kind === MessageFaultKind.pause) process?.pause(ms);
    else process?.crash(ms);
    return kind === MessageFaultKind.crash;
  }

  #plan(): void {
    const { kernel, options } = this;
    const ids = new Map(opsOf(Scene.messages).map(({ id, name }) => [name, id]));
    for (const fault of options.faults) {
      const id = fault.trap === undefined ? undefined : ids.get(fault.trap.op);
      if (fault.trap === undefined) kernel.at(fault.atMs, () => this.#inject(fault));
      else if (id !== undefined)
        (this.traps[id] ??= []).push({
          countdown: fault.trap.nth,
          when: fault.trap.when,
          spring: (caller) => this.#inject(fault, caller),
        });
    }
    for (const atMs of options.addedAtMs)
      kernel.at(atMs, () => {
        this.participant.stock += 1;
        this.#total += 1;
      });
    kernel.at(options.chaosMs, () => {
      this.traps.length = 0;
      if (options.daysMs > 0) this.#sleep();
      else this.#heal();
    });
  }

  /** What is prepared or submitted lies there for days; nobody buys any more. */
  #sleep(): void {
    const { kernel, options } = this;
    this.count("days");
    this.#acts = 0;
    const kill = (): void => {
      for (const process of this.#processes) process.kill();
    };
    kill();
    kernel.after(SETTLED_MS, () => {
      // those that were down when the others were killed have come back meanwhile
      kill();
      kernel.jump(options.daysMs, LATE_WITHIN_MS);
      for (const process of this.#processes) kernel.after(kernel.draw.fraction() * LATE_WITHIN_MS, () => process.start());
      kernel.after(LATE_WITHIN_MS, () => this.#heal());
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
