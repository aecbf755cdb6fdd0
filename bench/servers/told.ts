/** Answers over HTTP by code. */
export type Told = Readonly<Record<string, number>>;

const LINE = /^doorbuster_gateway_told_total\{([^}]*)\} (\d+)$/gm;

/** The gateway's own count of what it answered over HTTP, from its metrics: what a generator's statuses cannot tell. */
export const toldOf = async (admin: string, token: string): Promise<Told> => {
  const response = await fetch(`${admin}/metrics`, { headers: { authorization: `Bearer ${token}`, connection: "close" } });
  const told: Record<string, number> = {};
  for (const [, labels = "", count] of (await response.text()).matchAll(LINE)) {
    if (!labels.includes('channel="http"')) continue;
    const code = /code="([^"]*)"/.exec(labels)?.[1] ?? "";
    told[code] = (told[code] ?? 0) + Number(count);
  }
  return told;
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
