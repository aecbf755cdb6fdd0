import type { Twins } from "../world.ts";

type Twin = (port: unknown, ...rest: unknown[]) => unknown;

/** Several twins in one world: of a port that more than one replaces, each gets what the one before it made. */
export const join = (all: readonly Twins[]): Twins => {
  const joined: Record<string, unknown> = {};
  for (const twins of all) {
    for (const [port, twin] of Object.entries(twins)) {
      const before = joined[port];
      if (before === undefined) joined[port] = twin;
      else if (typeof twin === "function")
        joined[port] = (shipped: unknown, ...rest: unknown[]) => (twin as Twin)((before as Twin)(shipped, ...rest), ...rest);
      else joined[port] = Object.assign({}, before, twin);
    }
  }
  return joined;
};
