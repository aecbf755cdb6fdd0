import { Draw } from "../../harness/draw.ts";
import { opNames, Scene } from "../kernel/wire.ts";
import type { Weather } from "../kernel/weather.ts";

export const MessageFaultKind = {
  /** kill -9 of a process, which starts again after `ms` */
  crash: "crash",
  /** SIGSTOP for `ms` */
  pause: "pause",
  /** nothing passes between a process and a target for `ms` */
  cut: "cut",
  /** kill -9 of a shard's Redis, which loses nothing and is back after `ms` */
  redisRestart: "redis restart",
} as const;
export type MessageFaultKind = (typeof MessageFaultKind)[keyof typeof MessageFaultKind];

export interface MessageFault {
  readonly kind: MessageFaultKind;
  /** strikes then, or from then on at the n-th call of the op: at its caller */
  readonly atMs: number;
  readonly trap: { readonly op: string; readonly nth: number; readonly when: "before" | "after" } | undefined;
  readonly process: string;
  readonly target: string;
  readonly ms: number;
}

/** What a seed of the two-phase messages means, written out: the same options make the same schedule. */
export interface MessageOptions {
  readonly scene: "messages";
  readonly seed: number;
  readonly shards: number;
  readonly coordinators: number;
  readonly buyers: number;
  readonly gids: number;
  /** times that some gid is sent */
  readonly acts: number;
  /** units at the beginning */
  readonly stock: number;
  /** when a unit is added */
  readonly addedAtMs: readonly number[];
  /** coordinators come back with other numbers of shards */
  readonly isRolling: boolean;
  readonly chaosMs: number;
  /** days in which nothing runs, after the chaos; late calls may come after them. 0 = none */
  readonly daysMs: number;
  readonly weather: Weather;
  readonly faults: readonly MessageFault[];
}

const SHARDS = 3;
const DAY_MS = 86_400_000;
const BAD: Weather = { lost: 0.01, unanswered: 0.02, late: 0.02, refused: 0.01, repeated: 0.02, overtaking: 0.03, slow: 0.1 };

const names = (kind: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${kind}${i}`);

const drawFault = (
  draw: Draw,
  isTrap: boolean,
  chaosMs: number,
  processes: readonly string[],
  targets: readonly string[],
): MessageFault => {
  const { crash, pause, cut, redisRestart } = MessageFaultKind;
  const kind = draw.pick(isTrap ? [crash, pause] : [crash, crash, pause, cut, redisRestart]);
  const trap = isTrap
    ? { op: draw.pick(opNames(Scene.messages)), nth: draw.between(1, 20), when: draw.pick(["before", "after"] as const) }
    : undefined;
  const mostMs = { crash: 3_000, pause: 12_000, cut: 6_000, "redis restart": 2_000 }[kind];
  const atMs = isTrap ? 0 : draw.fraction() * chaosMs;
  return { kind, atMs, trap, process: draw.pick(processes), target: draw.pick(targets), ms: draw.logarithmic(10, mostMs) };
};

/** What a seed of the two-phase messages means. */
export const expandMessages = (seed: number): MessageOptions => {
  const draw = new Draw(Math.imul(seed, 0x9e3779b1) ^ 0x2c1b3c6d);
  const coordinators = draw.between(2, 3);
  const buyers = 2;
  const chaosMs = draw.logarithmic(2_000, 15_000);
  const processes = [...names("coordinator", coordinators), ...names("buyer", buyers)];
  const targets = [...names("redis", SHARDS), "participant", "services"];
  return {
    scene: "messages",
    seed,
    shards: SHARDS,
    coordinators,
    buyers,
    gids: draw.between(3, 8),
    acts: draw.between(10, 40),
    stock: draw.between(0, 4),
    addedAtMs: Array.from({ length: draw.between(0, 3) }, () => draw.fraction() * chaosMs),
    isRolling: draw.chance(0.5),
    chaosMs,
    daysMs: draw.chance(0.8) ? 0 : draw.between(1, 30) * DAY_MS,
    weather: BAD,
    faults: [
      ...Array.from({ length: draw.between(1, 8) }, () => drawFault(draw, false, chaosMs, processes, targets)),
      ...Array.from({ length: draw.between(1, 4) }, () => drawFault(draw, true, chaosMs, processes, targets)),
    ],
  };
};

const without = <T>(items: readonly T[], at: number): T[] => items.filter((_, i) => i !== at);

/** Smaller schedules, the boldest first. */
export function* smallerMessages(options: MessageOptions, calm: Weather): Generator<MessageOptions> {
  const { faults, addedAtMs, acts, gids, coordinators, buyers, chaosMs, daysMs, weather } = options;
  if (faults.length > 2) {
    const half = Math.ceil(faults.length / 2);
    yield { ...options, faults: faults.slice(0, half) };
    yield { ...options, faults: faults.slice(half) };
  }
  for (let at = 0; at < faults.length; at += 1) yield { ...options, faults: without(faults, at) };
  if (weather !== calm) yield { ...options, weather: calm };
  if (daysMs > 0) yield { ...options, daysMs: 0 };
  if (options.isRolling) yield { ...options, isRolling: false };
  for (let at = 0; at < addedAtMs.length; at += 1) yield { ...options, addedAtMs: without(addedAtMs, at) };
  if (acts > 1) yield { ...options, acts: Math.floor(acts / 2) };
  if (acts > 1) yield { ...options, acts: acts - 1 };
  if (gids > 1) yield { ...options, gids: gids - 1 };
  if (chaosMs > 500) yield { ...options, chaosMs: chaosMs * 0.7 };
  if (coordinators > 1) yield { ...options, coordinators: coordinators - 1 };
  if (buyers > 1) yield { ...options, buyers: buyers - 1 };
}
