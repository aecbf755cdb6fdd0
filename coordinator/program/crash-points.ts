import type { Log } from "./log.ts";

/** A point as DOORBUSTER_CRASH_AT names it. */
export interface CrashAt {
  /** `<port>.<call>:before` or `:after` */
  readonly point: string;
  /** at the so many-th pass of it, from 1 */
  readonly pass: number;
  readonly signal: "SIGKILL" | "SIGSTOP";
}

const FORM = /^([a-z][A-Za-z.-]*\.[A-Za-z]+:(?:before|after))(?::([1-9]\d{0,5}))?(?::(pause))?$/;

/** @returns undefined if the text is not `<port>.<call>:before|after[:<pass>][:pause]` */
export const parseCrashAt = (text: string): CrashAt | undefined => {
  const match = FORM.exec(text);
  if (match === null) return undefined;
  return { point: match[1] as string, pass: Number(match[2] ?? 1), signal: match[3] === undefined ? "SIGKILL" : "SIGSTOP" };
};

/**
 * Gives every call of a port a point before it and one after it (when it has succeeded), at which a test can let this
 * process die or stop: before, the effect has not happened; after, nobody knows of it yet. Without the variable the port
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
    if (point !== at.point || ++passes !== at.pass) return;
    // The log is written synchronously: this line is what a test knows of it.
    log.fatal({ point, pass: at.pass, signal: at.signal }, "crash point");
    process.kill(process.pid, at.signal);
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
