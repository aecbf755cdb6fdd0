import type { Kernel } from "./kernel.ts";
import type { Life, Process } from "./process.ts";
import { Step } from "./queue.ts";
import { CALM, type Weather } from "./weather.ts";

/** A store, or another program, as one connection to it sees it. */
export interface Target {
  readonly name: string;
  /** changes whenever its connections break: what was on them is lost */
  readonly run: number;
  readonly isUp: boolean;
}

/** The name of a kind of call: faults can be set to strike at the n-th of one kind. */
export interface Op {
  readonly id: number;
  readonly name: string;
}

/** Which of the simulations knows a kind of call. */
export const Scene = { shards: "shards", messages: "messages" } as const;
export type Scene = (typeof Scene)[keyof typeof Scene];

const ops: (Op & { readonly scene: Scene })[] = [];
export const op = (name: string, scene: Scene = Scene.shards): Op => {
  const made = { id: ops.length, name, scene };
  ops.push(made);
  return made;
};
export const opsOf = (scene: Scene): readonly Op[] => ops.filter((one) => one.scene === scene);

const namesOf: Partial<Record<Scene, readonly string[]>> = {};

/** What a seed draws from: in an order that no import changes. */
export const opNames = (scene: Scene): readonly string[] =>
  (namesOf[scene] ??= opsOf(scene)
    .map(({ name }) => name)
    .toSorted());

/** A call at which a trap was sprung. */
export interface TrappedCall {
  /** Its effect happens so much later, and its caller hears nothing but a time-out. */
  delay(ms: number): void;
  /** Its effect has happened, and its caller hears nothing but a time-out. */
  silence(): void;
}

/** A fault that strikes at the n-th call of a kind, before or after its effect. */
export interface Trap {
  countdown: number;
  readonly when: "before" | "after";
  /** @returns true if the caller is gone or the call delayed: it has no effect now and no answer */
  readonly spring: (caller: Process, call: TrappedCall) => boolean;
}

/** What a store or the network does to a call, often: without a stack, which nobody reads. */
class Failure extends Error {
  constructor(message: string) {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message);
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** No answer: what was asked may have been done, or may still be. */
export class Unanswered extends Failure {
  override readonly name = "Unanswered";
}

/** Not executed, and the caller knows. */
export class Refused extends Failure {
  override readonly name = "Refused";
}

/** The world's network. */
export interface Network {
  readonly kernel: Kernel;
  weather: Weather;
  /** by op id */
  readonly traps: (Trap[] | undefined)[];
  /** days will pass: a late call may come after them */
  readonly daysPass: boolean;
  /** whether nothing passes between a process and a target */
  isCut(process: Process, target: string): boolean;
  readonly count: (fault: string) => void;
}

const FAST_MS = 0.3;
const SLOW_FROM_MS = 3;
const SLOW_TO_MS = 150;
const LATE_TO_MS = 20_000;

const latencyMs = (network: Network): number => {
  const { draw } = network.kernel;
  return draw.chance(network.weather.slow) ? draw.logarithmic(SLOW_FROM_MS, SLOW_TO_MS) : FAST_MS + draw.fraction() * 2;
};

const Phase = { request: 0, answer: 1, failure: 2, over: 3 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

/** A call on its way: travels, happens, travels back. */
export class Exchange<T> extends Step implements TrappedCall {
  readonly #wire: Wire;
  readonly #op: Op;
  readonly #effect: (exchange: Exchange<T>) => T | undefined;
  readonly #isHeld: boolean;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  readonly #target: Target;
  readonly #run: number;
  #phase: Phase = Phase.request;
  #value: T | undefined;
  #error: unknown;
  /** nobody listens any more, or the answer gets lost */
  #isMute = false;

  constructor(
    wire: Wire,
    op: Op,
    target: Target,
    effect: (exchange: Exchange<T>) => T | undefined,
    isHeld: boolean,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ) {
    super();
    this.#wire = wire;
    this.#op = op;
    this.#target = target;
    this.#run = target.run;
    this.#effect = effect;
    this.#isHeld = isHeld;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  get life(): Life {
    return this.#wire.life;
  }

  /** the caller died or its connection broke: an answer would reach nobody */
  get isAbandoned(): boolean {
    return this.#phase !== Phase.request || this.#wire.life.isDead || this.#target.run !== this.#run;
  }

  /** Sends the answer of a call that was held. */
  answer(value: T): void {
    if (this.#phase !== Phase.request) return;
    this.#value = value;
    this.#plan(Phase.answer, this.#wire.answerAtMs(latencyMs(this.#wire.network)));
  }

  /** Ends a call that was held, with an error that the caller hears. */
  fail(error: unknown): void {
    if (this.#phase !== Phase.request) return;
    this.#error = error;
    this.#plan(Phase.failure, this.#wire.network.kernel.nowMs + latencyMs(this.#wire.network));
  }

  /** The caller gives up at once, without a step: its connection is closed. */
  abandon(error: unknown): void {
    if (this.#phase === Phase.over) return;
    this.#isMute = true;
    this.#reject(error);
  }

  /** The caller will hear nothing but a time-out, whatever happens. */
  mute(timeoutMs: number): void {
    this.#isMute = true;
    const { network, life } = this.#wire;
    network.kernel.plan(new Deadline(life, this.#reject, this.#op, network.kernel.say), network.kernel.nowMs + timeoutMs);
  }

  delay(ms: number): void {
    this.silence();
    const { kernel } = this.#wire.network;
    kernel.plan(this, kernel.nowMs + ms);
  }

  silence(): void {
    this.mute(this.#wire.timeoutMs);
  }

  override run(): boolean {
    const { life, network } = this.#wire;
    if (this.#phase === Phase.request) {
      this.#happen();
      return true;
    }
    if (life.isDead || this.#isMute || life.isDeferred(this)) return false;
    const phase = this.#phase;
    this.#phase = Phase.over;
    if (phase === Phase.failure) this.#reject(this.#error);
    else if (this.#target.run !== this.#run || network.isCut(life.process, this.#target.name))
      this.#reject(new Unanswered(`${this.#op.name}: the connection broke`));
    else this.#resolve(this.#value as T);
    return true;
  }

  #plan(phase: Phase, atMs: number): void {
    if (this.#isMute) {
      this.#phase = Phase.over;
      return;
    }
    this.#phase = phase;
    this.#wire.network.kernel.plan(this, atMs);
  }

  #happen(): void {
    const { life, network } = this.#wire;
    const { kernel } = network;
    const target = this.#target;
    // a store answers by a step of its own; what holds a call may be a program
    kernel.isQuiet = !this.#isHeld;
    kernel.mix(this.#op.id);
    if (network.traps[this.#op.id] !== undefined && spring(network, this.#op, "before", life, this)) return;
    if (!target.isUp || target.run !== this.#run || network.isCut(life.process, target.name)) {
      if (!life.isDead) this.fail(new Refused(`${this.#op.name}: ${target.name} is away`));
      return;
    }
    let value: T | undefined;
    try {
      value = this.#effect(this);
    } catch (error) {
      kernel.say?.(kernel.nowMs, `${life.process.name} ${this.#op.name} failed: ${String(error)}`);
      this.fail(error);
      return;
    }
    if (network.traps[this.#op.id] !== undefined) spring(network, this.#op, "after", life, this);
    if (this.#isHeld) return;
    this.answer(value as T);
  }
}

/** A call's time-out. */
class Deadline extends Step {
  readonly #life: Life;
  readonly #reject: (error: unknown) => void;
  readonly #op: Op;
  readonly #say: Kernel["say"];

  constructor(life: Life, reject: (error: unknown) => void, op: Op, say: Kernel["say"]) {
    super();
    this.#life = life;
    this.#reject = reject;
    this.#op = op;
    this.#say = say;
  }

  override run(): boolean {
    const life = this.#life;
    if (life.isDead || life.isDeferred(this)) return false;
    this.#say?.(life.kernel.nowMs, `${life.process.name} ${this.#op.name} timed out`);
    this.#reject(new Unanswered(`${this.#op.name}: no answer in time`));
    return true;
  }
}

const spring = (network: Network, op: Op, when: "before" | "after", life: Life, call: TrappedCall): boolean => {
  const traps = network.traps[op.id] as Trap[];
  let gone = false;
  for (const trap of traps) {
    if (trap.when !== when || life.isDead) continue;
    trap.countdown -= 1;
    if (trap.countdown === 0 && trap.spring(life.process, call)) gone = true;
  }
  return gone;
};

/** The connection of one life of a process to a store: what is sent on it arrives in order, as do the answers. */
export class Wire {
  readonly life: Life;
  readonly network: Network;
  readonly #target: () => Target;
  readonly timeoutMs: number;
  #sentAtMs = 0;
  #answeredAtMs = 0;

  constructor(life: Life, network: Network, target: () => Target, timeoutMs: number) {
    this.life = life;
    this.network = network;
    this.#target = target;
    this.timeoutMs = timeoutMs;
  }

  get isUp(): boolean {
    const target = this.#target();
    return target.isUp && !this.network.isCut(this.life.process, target.name);
  }

  answerAtMs(latency: number): number {
    this.#answeredAtMs = Math.max(this.#answeredAtMs, this.network.kernel.nowMs + latency);
    return this.#answeredAtMs;
  }

  /** A call whose answer is what `effect` returns, at the moment at which the request has arrived. */
  call<T>(op: Op, effect: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#send(op, effect, false, resolve, reject);
    });
  }

  /** A call that the store answers when it can: `effect` keeps the exchange. */
  hold<T>(op: Op, effect: (exchange: Exchange<T>) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#send<T>(
        op,
        (exchange) => {
          effect(exchange);
          return undefined;
        },
        true,
        resolve,
        reject,
      );
    });
  }

  /** Like `call`, with an Exchange that the caller can end. */
  open<T>(op: Op, effect: (exchange: Exchange<T>) => void): { readonly answer: Promise<T>; readonly exchange: Exchange<T> } {
    let exchange: Exchange<T> | undefined;
    const answer = new Promise<T>((resolve, reject) => {
      exchange = this.#send<T>(
        op,
        (own) => {
          effect(own);
          return undefined;
        },
        true,
        resolve,
        reject,
      );
    });
    return { answer, exchange: exchange as Exchange<T> };
  }

  /** A message that nobody answers. */
  post(op: Op, effect: () => void): void {
    this.#send(op, effect, false, ignore, ignore);
  }

  #send<T>(
    op: Op,
    effect: (exchange: Exchange<T>) => T | undefined,
    isHeld: boolean,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ): Exchange<T> {
    const { network } = this;
    const { kernel, weather } = network;
    const { draw } = kernel;
    const exchange = new Exchange<T>(this, op, this.#target(), effect, isHeld, resolve, reject);
    const latency = latencyMs(network);
    const luck = weather === CALM ? 1 : draw.fraction();
    let bad = weather.lost;
    if (luck < bad) {
      network.count("call lost");
      exchange.mute(this.timeoutMs);
      return exchange;
    }
    if (luck < (bad += weather.unanswered)) {
      network.count("answer lost");
      exchange.mute(this.timeoutMs);
    } else if (luck < (bad += weather.late)) {
      network.count("call late");
      exchange.mute(this.timeoutMs);
      if (network.daysPass && draw.chance(0.5)) {
        network.count("call days late");
        kernel.stray(exchange);
      } else kernel.plan(exchange, kernel.nowMs + this.timeoutMs * draw.fraction() + draw.logarithmic(1, LATE_TO_MS));
      return exchange;
    } else if (luck < (bad += weather.refused)) {
      network.count("call refused");
      exchange.fail(new Refused(`${op.name}: refused`));
      return exchange;
    } else if (luck < bad + weather.overtaking) {
      network.count("call overtaking");
      kernel.plan(exchange, kernel.nowMs + latency);
      return exchange;
    }
    this.#sentAtMs = Math.max(this.#sentAtMs, kernel.nowMs + latency);
    kernel.plan(exchange, this.#sentAtMs);
    return exchange;
  }
}

const ignore = (): void => undefined;
