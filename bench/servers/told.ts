/** Answers over HTTP by code. */
export type Told = Readonly<Record<string, number>>;

const LINE = /^doorbuster_gateway_told_total\{([^}]*)\} (\d+)$/gm;

const metricsOf = async (admin: string, token: string): Promise<string> => {
  const response = await fetch(`${admin}/metrics`, { headers: { authorization: `Bearer ${token}`, connection: "close" } });
  return response.text();
};

/** The gateway's own count of what it answered over HTTP, from its metrics: what a generator's statuses cannot tell. */
export const toldOf = async (admin: string, token: string): Promise<Told> => {
  const told: Record<string, number> = {};
  for (const [, labels = "", count] of (await metricsOf(admin, token)).matchAll(LINE)) {
    if (!labels.includes('channel="http"')) continue;
    const code = /code="([^"]*)"/.exec(labels)?.[1] ?? "";
    told[code] = (told[code] ?? 0) + Number(count);
  }
  return told;
};

/** Purchases that were sent to shards so far, and the calls that carried them. */
export interface Calls {
  readonly purchases: number;
  readonly calls: number;
}

const BATCHES = /^doorbuster_gateway_batch_size_(sum|count)\{kind="purchases"\} (\d+)$/gm;

/** The gateway's own count of its calls of Redis, from its metrics. */
export const callsOf = async (admin: string, token: string): Promise<Calls> => {
  const found = Object.fromEntries([...(await metricsOf(admin, token)).matchAll(BATCHES)].map(([, name, value]) => [name, Number(value)]));
  return { purchases: found["sum"] ?? 0, calls: found["count"] ?? 0 };
};

/** What was answered in between. */
export const toldSince = (now: Told, before: Told): Told =>
  Object.fromEntries(
    Object.entries(now).flatMap(([code, count]) => (count > (before[code] ?? 0) ? [[code, count - (before[code] ?? 0)]] : [])),
  );

/** @throws Error unless nearly every answer was one of these: a bench that measures something else says so instead */
export const expectTold = (told: Told, codes: readonly string[], part = 0.999): void => {
  const all = Object.values(told).reduce((sum, count) => sum + count, 0);
  const meant = codes.reduce((sum, code) => sum + (told[code] ?? 0), 0);
  if (all === 0 || meant / all < part)
    throw new Error(`the gateway was to answer ${codes.join(" or ")}, it answered ${JSON.stringify(told)}`);
};
