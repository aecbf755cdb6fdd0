/**
 * The arrivals of an open loop: request i is meant to start `i / perSecond` after the beginning, whatever happened to
 * those before it. A latency counts from that moment, also if the generator came late or had no free connection, so a
 * server that stalls cannot hide the requests that it kept from being sent (coordinated omission).
 */
export interface Schedule {
  /** how many arrivals were due by `nowMs`, never more than belong to the load */
  due(nowMs: number): number;
  /** when arrival `index` was meant to start */
  intendedMs(index: number): number;
  readonly total: number;
}

export const schedule = (beginMs: number, durationMs: number, perSecond: number): Schedule => {
  const everyMs = 1_000 / perSecond;
  const total = Math.max(1, Math.floor(durationMs / everyMs));
  return {
    total,
    // Arrival 0 is due at once; a tiny part of an interval is forgiven to the rounding of the clock.
    due: (nowMs) => (nowMs < beginMs ? 0 : Math.min(total, Math.floor((nowMs - beginMs) / everyMs + 1e-9) + 1)),
    intendedMs: (index) => beginMs + index * everyMs,
  };
};
