import { closeSync, openSync, readFileSync } from "node:fs";
import { devNull } from "node:os";

/** This process's limit, or the machine's. */
const FULL: ReadonlySet<string | undefined> = new Set(["EMFILE", "ENFILE"]);

/**
 * A file descriptor of no use but its number.
 * @returns undefined if no more can be opened
 */
const openOne = (): number | undefined => {
  try {
    return openSync(devNull, "r");
  } catch (error) {
    if (FULL.has((error as NodeJS.ErrnoException).code)) return undefined;
    throw error;
  }
};

/** Whether one more file or connection could be opened now: 10 us, however many there are. */
export const isOneLeft = (): boolean => {
  const descriptor = openOne();
  if (descriptor !== undefined) closeSync(descriptor);
  return descriptor !== undefined;
};

/** Descriptors that are kept from others, to be had when nothing else is. */
export class SpareDescriptors {
  #held: number[] = [];

  /**
   * Holds `count`, if there are `more` besides.
   * @returns false, and holds none, if there are not
   */
  take(count: number, more: number): boolean {
    this.release();
    while (this.#held.length < count + more) {
      const descriptor = openOne();
      if (descriptor === undefined) {
        this.release();
        return false;
      }
      this.#held.push(descriptor);
    }
    for (const descriptor of this.#held.splice(count)) closeSync(descriptor);
    return true;
  }

  release(): void {
    for (const descriptor of this.#held.splice(0)) closeSync(descriptor);
  }
}

/**
 * How many descriptors this process may have: its soft limit, which Node raises to the hard one when it starts.
 * @returns undefined where that is not said (only Linux does) or there is no limit
 */
export const descriptorLimit = (): number | undefined => {
  try {
    const limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]);
    return Number.isNaN(limit) ? undefined : limit;
  } catch {
    return undefined;
  }
};
