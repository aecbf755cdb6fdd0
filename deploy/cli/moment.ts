import { InvalidArgumentError } from "commander";

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads a moment as an operator types it: `now`, `+90s`, `+10m`, `+2h`, `+30d` from now, or ISO 8601 with its zone.
 * @returns ms since 1970, UTC
 */
export const momentOf =
  (nowMs: () => number) =>
  (text: string): number => {
    if (text === "now") return nowMs();
    const ahead = /^\+(\d{1,9})([smhd])$/.exec(text);
    if (ahead !== null) return nowMs() + Number(ahead[1]) * (UNIT_MS[ahead[2] as string] as number);
    const atMs = /^\d{4}-\d{2}-\d{2}T.*(Z|[+-]\d{2}:\d{2})$/.test(text) ? Date.parse(text) : Number.NaN;
    if (!Number.isFinite(atMs)) throw new InvalidArgumentError("It must be `now`, `+10m` (s, m, h, d) or ISO 8601 with its zone.");
    return atMs;
  };

/** Reads a length of time: `90s`, `15m`, `2h`, `7d`; `0` is none. */
export const durationOf = (text: string): number => {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  if (text !== "0" && match === null) throw new InvalidArgumentError("It must be like `15m` (s, m, h, d), or 0.");
  return match === null ? 0 : Number(match[1]) * (UNIT_MS[match[2] as string] as number);
};
