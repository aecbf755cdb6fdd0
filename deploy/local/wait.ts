import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 10;
const DEFAULT_BOUND_MS = 20_000;

/**
 * Polls until `condition` holds.
 * @param what what is waited for, in words that finish "waited in vain for ..."
 * @throws Error with `what` after `boundMs`; what `condition` throws passes through
 */
export const until = async (
  condition: () => boolean | Promise<boolean>,
  what: string,
  boundMs = DEFAULT_BOUND_MS,
  everyMs = POLL_MS,
): Promise<void> => {
  const deadline = performance.now() + boundMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what} (${boundMs} ms)`);
    await delay(everyMs);
  }
};

/** Promise.all that also fails only when all have settled: nothing may still be starting when a failure is handled. */
export const settled = async <const T extends readonly Promise<unknown>[]>(
  starts: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> => {
  try {
    return await Promise.all(starts);
  } finally {
    await Promise.allSettled(starts);
  }
};
