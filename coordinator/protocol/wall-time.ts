import { z } from "zod";

/** What is a time of a sale, a ticket or a message at all: 2000 to 2100. Outside of it somebody has meant another unit. */
const EARLIEST_MS = 946_684_800_000;
const LATEST_MS = 4_102_444_800_000;

const isTime = (ms: number): boolean => ms >= EARLIEST_MS && ms <= LATEST_MS;

/** Other units in which clocks count, by what one ms is in them. */
const UNITS = [
  ["seconds", 0.001],
  ["microseconds", 1e3],
  ["nanoseconds", 1e6],
] as const;

/** What is wrong with a number that should be a time, as the end of a sentence; undefined if it is one. */
export const wallTimeFault = (value: unknown): string | undefined => {
  if (Number.isSafeInteger(value) && isTime(value as number)) return undefined;
  const unit = typeof value === "number" ? UNITS.find(([, perMs]) => isTime(value / perMs)) : undefined;
  const hint = unit === undefined ? "" : `; ${String(value)} would be one in ${unit[0]}`;
  return `must be whole milliseconds since 1970, from 2000 to 2100${hint}`;
};

/** A time that somebody gives, ms since 1970, UTC. */
export const wallTime = (): z.ZodInt => {
  const error = ({ input }: { readonly input?: unknown }): string => wallTimeFault(input) ?? "";
  return z.int({ error }).min(EARLIEST_MS, { error }).max(LATEST_MS, { error });
};
