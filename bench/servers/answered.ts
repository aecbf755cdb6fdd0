/** Answers over HTTP by code. */
export type Answered = Readonly<Record<string, number>>;

const LINE = /^doorbuster_gateway_answers_total\{([^}]*)\} (\d+)$/gm;

const metricsOf = async (gateway: string): Promise<string> => {
  const response = await fetch(`${gateway}/metrics`, { headers: { connection: "close" } });
  return response.text();
};

/**
 * The gateway's own count of what it answered over HTTP, from its metrics: what a generator's statuses cannot tell.
 * @param gateway where it tells its metrics
 */
export const answeredOf = async (gateway: string): Promise<Answered> => {
  const answered: Record<string, number> = {};
  for (const [, labels = "", count] of (await metricsOf(gateway)).matchAll(LINE)) {
    if (!labels.includes('channel="http"')) continue;
    const code = /code="([^"]*)"/.exec(labels)?.[1] ?? "";
    answered[code] = (answered[code] ?? 0) + Number(count);
  }
  return answered;
};

/** Purchases that were sent to shards so far, and the calls that carried them. */
export interface Calls {
  readonly purchases: number;
  readonly calls: number;
}

const BATCHES = /^doorbuster_gateway_batch_size_(sum|count)\{kind="purchases"\} (\d+)$/gm;

/** The gateway's own count of its calls of Redis, from its metrics. */
export const callsOf = async (gateway: string): Promise<Calls> => {
  const found = Object.fromEntries([...(await metricsOf(gateway)).matchAll(BATCHES)].map(([, name, value]) => [name, Number(value)]));
  return { purchases: found["sum"] ?? 0, calls: found["count"] ?? 0 };
};

/** What was answered in between. */
export const answeredSince = (now: Answered, before: Answered): Answered =>
  Object.fromEntries(
    Object.entries(now).flatMap(([code, count]) => (count > (before[code] ?? 0) ? [[code, count - (before[code] ?? 0)]] : [])),
  );

/** @throws Error unless nearly every answer was one of these: a bench that measures something else says so instead */
export const expectAnswered = (answered: Answered, codes: readonly string[], part = 0.999): void => {
  const all = Object.values(answered).reduce((sum, count) => sum + count, 0);
  const meant = codes.reduce((sum, code) => sum + (answered[code] ?? 0), 0);
  if (all === 0 || meant / all < part)
    throw new Error(`the gateway was to answer ${codes.join(" or ")}, it answered ${JSON.stringify(answered)}`);
};
