import type { Clock } from "#protocol/ports";

/** The same fault again is logged at most this often: a store that is away fails several times a second. */
const REPEAT_LOG_MS = 10_000;

/**
 * Whether a fault is to be logged: it is new at its place, or was said a while ago.
 * @returns a function of where it happened (one of few) and what it says
 */
export const rarely = (clock: Clock): ((where: string, text: string) => boolean) => {
  const logged = new Map<string, { readonly text: string; readonly atMs: number }>();
  return (where, text) => {
    const before = logged.get(where);
    const nowMs = clock.monotonicMs();
    if (before?.text === text && nowMs - before.atMs <= REPEAT_LOG_MS) return false;
    logged.set(where, { text, atMs: nowMs });
    return true;
  };
};
