import type { Log } from "./log.ts";

/** A point as DOORBUSTER_CRASH_AT names it. */
export interface CrashAt {
  /** `<port>.<call>:before` or `:after` */
  readonly point: string;
  /** at the so many-th pass of it, from 1; `step`: at every one from there on */
  readonly pass: number;
  readonly act: CrashAct;
}

/** What happens at a point. */
export const CrashAct = {
  /** SIGKILL */
  kill: "kill",
  /** SIGSTOP, until somebody lets it go on */
  pause: "pause",
  /** SIGSTOP at each pass: a test lets the process go on until it stands where something else is the case, too */
  step: "step",
  /** the call fails, and the process goes on; after a call: its effect stands */
  throw: "throw",
} as const;
export type CrashAct = (typeof CrashAct)[keyof typeof CrashAct];

const SIGNALS = { kill: "SIGKILL", pause: "SIGSTOP", step: "SIGSTOP" } as const;
const FORM = /^([a-z][A-Za-z.-]*\.[A-Za-z]+:(?:before|after))(?::([1-9]\d{0,5}))?(?::(pause|step|throw))?$/;

/** @returns undefined if the text is not `<port>.<call>:before|after[:<pass>][:pause|:step|:throw]` */
export const parseCrashAt = (text: string): CrashAt | undefined => {
  const match = FORM.exec(text);
  if (match === null) return undefined;
  return { point: match[1] as string, pass: Number(match[2] ?? 1), act: (match[3] as CrashAct | undefined) ?? CrashAct.kill };
};

/**
 * Gives every call of a port a point before it and one after it (when it has succeeded), at which a test can let this
 * process die or stop, or the call fail: before, the effect has not happened; after, nobody knows of it yet. Without the variable the port
 * itself comes back, so that nothing is paid for it.
 */
export type CrashPoints = <T extends object>(port: string, calls: T) => T;

export const noCrashPoints: CrashPoints = (_port, calls) => calls;

/** @param at undefined: no points */
export const crashPoints = (at: CrashAt | undefined, log: Log): CrashPoints => {
  if (at === undefined) return noCrashPoints;
  let passes = 0;
  const known = new Set<string>();
  const knows = (name: string): void => {
    if (known.has(name)) return;
    known.add(name);
    log.info({ call: name }, "call with crash points");
  };
  const pass = (point: string): void => {
    if (point !== at.point || ++passes < at.pass || (passes > at.pass && at.act !== CrashAct.step)) return;
    // The log is written synchronously: this line is what a test knows of it.
    log.fatal({ point, pass: passes, act: at.act }, "crash point");
    if (at.act === CrashAct.throw) throw new Error(`the call fails at ${point}`);
    process.kill(process.pid, SIGNALS[at.act]);
  };
  const around = (name: string, call: (...args: unknown[]) => unknown): ((...args: unknown[]) => unknown) => {
    return (...args) => {
      knows(name);
      pass(`${name}:before`);
      const result = call(...args);
      const after = (value: unknown): unknown => {
        pass(`${name}:after`);
        return value;
      };
      return result instanceof Promise ? result.then(after) : after(result);
    };
  };
  return (port, calls) =>
    new Proxy(calls, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== "function") return value;
        return around(`${port}.${String(key)}`, value.bind(target) as (...args: unknown[]) => unknown);
      },
    });
};
