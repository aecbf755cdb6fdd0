import type { Draw } from "../../harness/draw.ts";
import { CALM, type Weather } from "../kernel/weather.ts";
import { type Fault, FaultKind, type Options, type Profile } from "../options.ts";

type Change = (draw: Draw) => Partial<Options>;

/** The sequence of faults that a rule exists for, and around it what the seed draws. */
export const directed = (name: string, change: Change): Profile => ({
  name,
  weights: {},
  traps: 0,
  mostFaults: 0,
  change: (options, draw) => ({
    ...options,
    shards: 1,
    coordinators: 1,
    workers: 1,
    sales: [{ id: "sale0", units: [draw.between(8, 16)], limit: 1, opensAtMs: 0 }],
    buyers: 24,
    acts: 90,
    added: 0,
    moves: 0,
    daysMs: 0,
    leaseMs: 1_000,
    openMs: 1_500,
    sweepMs: 400,
    soldOut: false,
    weather: draw.chance(0.5) ? CALM : SLOW,
    ...change(draw),
  }),
});

/** Answers take their time, so that more fits in between. */
const SLOW: Weather = { ...CALM, slow: 0.3 };

const NOTHING: Omit<Fault, "kind" | "atMs"> = { trap: undefined, shard: 0, process: "", target: "", ms: 0, lost: 0 };

export const at = (atMs: number, kind: FaultKind, more: Partial<Fault>): Fault => ({ ...NOTHING, kind, atMs, ...more });

/** Strikes at the n-th call of a kind from `atMs` on. */
export const on = (atMs: number, op: string, nth: number, when: "before" | "after", kind: FaultKind, more: Partial<Fault>): Fault =>
  at(atMs, kind, { ...more, trap: { op, nth, when } });

const { crash, pause, cut, late, redisRestart, redisWipe, redisFailover, redisClock, brokerRestart } = FaultKind;

const cleanRestart = (atMs: number, draw: Draw): Fault => at(atMs, redisRestart, { ms: draw.between(5, 60) });

/** The permission runs out, and is valid again, by a clock that is set back, just after the close. */
export const CLOCK_BACK = directed("clock back", (draw) => {
  const fromMs = draw.between(600, 1_500);
  return {
    chaosMs: 5_000,
    faults: [
      at(fromMs, pause, { process: "coordinator0", ms: draw.between(1_600, 2_500) }),
      on(fromMs + 10, "redis close", 1, "after", redisClock, { ms: -draw.between(800, 3_000) }),
      on(fromMs + 10, "log append marker", 1, "after", pause, { ms: draw.between(100, 800) }),
    ],
  };
});

/** An open that comes late, while a later attempt of the same process is between its close and its last step. */
export const LATE_OPEN = directed("late open", (draw) => {
  const [awayMs, forMs] = [draw.between(2_700, 3_500), draw.between(1_700, 2_600)];
  return {
    chaosMs: 6_500,
    faults: [
      on(0, "redis open", 1, "before", late, { ms: awayMs + forMs - 200 + draw.between(0, 900) }),
      on(0, "log append marker", 2, "after", pause, { ms: draw.between(200, 900) }),
      at(awayMs, pause, { process: "worker0", ms: forMs }),
    ],
  };
});

/** A keep that comes late, when a later epoch sells and its relay stands still. */
export const LATE_KEEP = directed("late keep", (draw) => {
  const restartMs = draw.between(600, 1_000);
  const [awayMs, forMs] = [restartMs + draw.between(2_500, 2_900), draw.between(1_700, 2_600)];
  const comesMs = awayMs + forMs + draw.between(100, 1_500);
  return {
    chaosMs: 8_500,
    faults: [
      cleanRestart(restartMs, draw),
      on(restartMs, "redis keep", 1, "before", late, { ms: comesMs - restartMs }),
      at(awayMs, pause, { process: "worker0", ms: forMs }),
      on(comesMs - draw.between(50, 400), "log append entries", 1, "before", late, { ms: 9_000 }),
    ],
  };
});

/** A swap that comes late, of an attempt whose coordinator died, when a later epoch sells and its relay stands still. */
export const LATE_SWAP = directed("late swap", (draw) => {
  const lateMs = draw.between(2_200, 4_000);
  return {
    chaosMs: 5_500,
    faults: [
      on(0, "rows restore", 1, "after", crash, { ms: draw.between(20, 300) }),
      on(0, "redis swap", 1, "before", late, { ms: lateMs }),
      on(lateMs - draw.between(100, 500), "log append entries", 1, "before", late, { ms: 9_000 }),
    ],
  };
});

/** An open whose answer is lost; before it is repeated the server restarts and has lost what it sold meanwhile. */
export const OPEN_AGAIN = directed("open again", (draw) => {
  const restartMs = draw.between(600, 1_500);
  return {
    chaosMs: 5_000,
    faults: [
      cleanRestart(restartMs, draw),
      on(restartMs, "redis open", 1, "after", late, {}),
      on(restartMs + 70, "redis reserve", draw.between(1, 6), "after", redisRestart, { ms: draw.between(5, 60), lost: draw.between(1, 3) }),
    ],
  };
});

/** A server that restarts in the middle of a rebuild, unnoticed, and has lost staged keys. */
export const STAGED_LOST = directed("staged lost", (draw) => {
  const wipeMs = draw.between(1_500, 2_500);
  return {
    chaosMs: 4_000,
    weather: { ...CALM, slow: 0.5 },
    faults: [
      at(wipeMs, redisWipe, { ms: draw.between(5, 60) }),
      on(wipeMs, draw.pick(["pg page", "pg row"]), draw.between(1, 4), "after", redisRestart, {
        ms: 0.2 + draw.fraction() * 3,
        lost: draw.between(1, 3),
      }),
    ],
  };
});

/** A server that has lost entries; before its epoch ends grants come to it, for that epoch and for the next. */
export const REFUSED_GRANT = directed("refused grant", (draw) => {
  const restartMs = draw.between(1_000, 2_500);
  return {
    chaosMs: 4_000,
    added: 6,
    sweepMs: 150,
    faults: [
      at(restartMs, redisRestart, { ms: draw.between(5, 300), lost: draw.between(2, 6) }),
      on(restartMs, "log append marker", 1, "after", pause, { ms: draw.between(300, 900) }),
    ],
  };
});

/** A coordinator that stops behind its close, while another begins the epoch, sells, and has not appended yet. */
export const LEASE_LOST = directed("lease lost", (draw) => {
  const restartMs = draw.between(800, 1_500);
  return {
    chaosMs: 5_000,
    coordinators: 2,
    leaseMs: 3_000,
    faults: [
      cleanRestart(restartMs, draw),
      on(restartMs, "redis close", 1, "after", pause, { ms: draw.between(2_200, 2_900) }),
      on(restartMs + 1_000, "log append entries", 1, "before", late, { ms: 9_000 }),
    ],
  };
});

/**
 * A broker that restarts and loses what nobody has applied; what was on its way, or is appended before anybody looked, is
 * stored behind the hole, and then its coordinator dies.
 */
const hole = (name: string, isOnItsWay: boolean): Profile =>
  directed(name, (draw) => {
    const fromMs = draw.between(600, 2_000);
    const nth = draw.between(2, 4);
    const restart = { ms: draw.between(1, 40), lost: draw.between(1, 2) };
    const rest = isOnItsWay
      ? [
          on(fromMs + 20, "log append entries", nth, "before", late, { ms: draw.between(100, 900) }),
          on(fromMs + 21, "log append entries", nth, "before", brokerRestart, restart),
          on(fromMs + 22, "log append entries", nth, "before", crash, { ms: 3_000 }),
        ]
      : [
          on(fromMs + 20, "log append entries", nth, "after", brokerRestart, restart),
          on(fromMs + 20, "log append entries", nth + 1, "after", crash, { ms: 3_000 }),
        ];
    return {
      chaosMs: 5_000,
      coordinators: 2,
      faults: [at(fromMs, pause, { process: "worker0", ms: draw.between(700, 1_500) }), ...rest],
    };
  });
export const LATE_ENTRY = hole("late entry", true);
export const HOLE = hole("hole", false);

/** A flush that the broker loses between it and its marker. */
export const FLUSH_LOST = directed("flush lost", (draw) => {
  const fromMs = draw.between(600, 2_000);
  const nth = draw.between(1, 5);
  return {
    chaosMs: 4_500,
    weather: { ...CALM, slow: 0.4 },
    faults: [
      on(fromMs, "redis reserve", nth, "after", redisRestart, { ms: draw.between(5, 60) }),
      on(fromMs, "log append entries", Math.max(1, nth + draw.between(-2, 1)), "after", brokerRestart, {
        ms: 0.2 + draw.fraction() * 6,
        lost: draw.between(1, 2),
      }),
    ],
  };
});

/** The marker of an attempt comes late, when its process is in the next attempt, on a server that has lost entries since. */
export const LATE_MARKER = directed("late marker", (draw) => {
  const restartMs = draw.between(800, 2_000);
  return {
    chaosMs: 6_500,
    leaseMs: 3_000,
    faults: [
      cleanRestart(restartMs, draw),
      on(restartMs, "log append marker", 1, "before", late, { ms: 2_100 + draw.between(100, 1_400) }),
      at(restartMs + draw.between(200, 1_900), redisRestart, { ms: draw.between(5, 60), lost: draw.between(3, 9) }),
      on(restartMs, "redis close", 2, "after", pause, { ms: draw.between(500, 1_800) }),
    ],
  };
});

/** The last units are sold while no coordinator is there; the next one purges while a worker holds them that then dies. */
export const FORGOTTEN = directed("forgotten", (draw) => {
  const goneMs = draw.between(600, 1_500);
  return {
    sales: [{ id: "sale0", units: [draw.between(3, 8)], limit: 1, opensAtMs: 0 }],
    chaosMs: 4_000,
    openMs: 5_000,
    faults: [
      at(goneMs, crash, { process: "coordinator0", ms: draw.between(300, 1_000) }),
      on(goneMs + 100, "log purge", 1, "before", late, { ms: draw.between(20, 300) }),
      on(goneMs + 100, "pg commit", 1, "before", crash, { ms: draw.between(20, 300) }),
    ],
  };
});

const TWO_SIDES: Partial<Options> = { coordinators: 2, workers: 2, gateways: 2 };

/** The replaced server's coordinator is between a renewal and its next look, for long, when the new server's begins. */
export const STUCK_LOOK = directed("stuck look", (draw) => {
  const overMs = draw.between(1_000, 2_500);
  return {
    ...TWO_SIDES,
    chaosMs: 7_000,
    openMs: 700,
    faults: [
      at(overMs, redisFailover, { ms: 8_000, lost: draw.below(3) }),
      on(overMs + draw.between(300, 1_000), "log verify", draw.between(1, 2), "before", late, { ms: 3_000 }),
    ],
  };
});

/** The replaced server's coordinator reaches it and nothing else. */
export const CUT_OFF = directed("cut off", (draw) => {
  const overMs = draw.between(1_000, 2_500);
  return {
    ...TWO_SIDES,
    chaosMs: 7_000,
    faults: [
      at(overMs, redisFailover, { ms: 9_000, lost: draw.below(3) }),
      at(overMs + draw.below(300), cut, {
        process: draw.pick(["coordinator0", "coordinator1"]),
        target: "broker",
        ms: draw.between(3_000, 6_000),
      }),
    ],
  };
});

/** A replica is promoted and starts again before any coordinator has seen it: nothing in it says that it ever was one. */
export const PROMOTED = directed("promoted", (draw) => {
  const overMs = draw.between(1_000, 2_500);
  return {
    ...TWO_SIDES,
    chaosMs: 7_000,
    acts: 200,
    openMs: 5_000,
    faults: [
      at(overMs, redisFailover, { ms: 9_000, lost: draw.below(3) }),
      at(overMs + draw.between(1, 60), redisRestart, { ms: draw.between(5, 200) }),
    ],
  };
});

/** Two coordinators, each connected to one side of a failover, which take turns in not looking. */
export const OLD_SERVER = directed("old server", (draw) => {
  const overMs = draw.between(300, 2_000);
  const paused = (): Fault =>
    at(overMs + draw.between(300, 4_000), pause, { process: draw.pick(["coordinator0", "coordinator1"]), ms: draw.between(300, 1_500) });
  return {
    ...TWO_SIDES,
    chaosMs: 7_000,
    leaseMs: 3_000,
    faults: [at(overMs, redisFailover, { ms: 9_000, lost: draw.below(8) }), paused(), paused()],
  };
});

/** An attempt that waits before its open is replaced with its server; having opened it does not look again for a while. */
export const OVERTAKEN = directed("overtaken", (draw) => {
  const overMs = draw.between(1_000, 2_000);
  return {
    ...TWO_SIDES,
    chaosMs: 14_000,
    openMs: 5_000,
    faults: [
      at(overMs, redisFailover, { ms: 12_000, lost: 0 }),
      at(overMs + draw.between(1_100, 2_500), redisFailover, { ms: 12_000, lost: 0 }),
      on(overMs, "redis open", 1, "after", pause, { ms: 6_000 }),
    ],
  };
});

/** A server is replaced while the only worker talks to the old one, and nothing is sold when it hears of the new one. */
export const SETTLED_TWICE = directed("settled twice", (draw) => ({
  ...TWO_SIDES,
  workers: 1,
  sales: [{ id: "sale0", units: [draw.between(4, 8)], limit: 1, opensAtMs: 0 }],
  chaosMs: 4_000,
  faults: [at(draw.between(1_000, 2_500), redisFailover, { ms: draw.between(7_000, 9_500), lost: draw.below(3) })],
}));

const SOON_SOLD_OUT: Partial<Options> = { gateways: 1, workers: 2, soldOut: true };

/** A sale is flagged while orders are only in Redis, which then loses them, and perhaps some that Postgres has. */
export const FLAGGED = directed("flagged", (draw) => ({
  ...SOON_SOLD_OUT,
  sales: [{ id: "sale0", units: [draw.between(3, 8)], limit: 1, opensAtMs: 0 }],
  chaosMs: 4_500,
  acts: 200,
  faults: [
    on(0, "log append entries", draw.between(2, 6), "before", late, { ms: 9_000 }),
    at(draw.between(700, 2_200), redisRestart, { ms: draw.between(5, 60), lost: draw.between(1, 12) }),
  ],
}));

/** The only gateway cannot ask for flags when units are added to a flagged sale. */
export const UNHEARD = directed("unheard", (draw) => ({
  ...SOON_SOLD_OUT,
  sales: [{ id: "sale0", units: [draw.between(2, 4)], limit: 1, opensAtMs: 0 }],
  chaosMs: 6_000,
  acts: 200,
  added: 4,
  faults: [at(draw.between(1_500, 3_500), cut, { process: "gateway0", target: "broker", ms: draw.between(1_000, 3_000) })],
}));

/** The replaced server sells its last units when the new one's epoch has begun, and its coordinator is for long between two looks. */
export const DECIDED_LATE = directed("decided late", (draw) => {
  const overMs = draw.between(500, 1_500);
  return {
    ...TWO_SIDES,
    soldOut: true,
    sales: [{ id: "sale0", units: [draw.between(5, 14)], limit: 1, opensAtMs: 0 }],
    chaosMs: 9_000,
    acts: 60,
    leaseMs: 3_000,
    faults: [
      at(overMs, redisFailover, { ms: 12_000, lost: draw.below(3) }),
      on(overMs + draw.between(1_200, 2_600), "log verify", 1, "before", late, { ms: 4_000 }),
    ],
  };
});
