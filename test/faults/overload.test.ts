import { Pool } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../harness/index.ts";
import { CrashWorld } from "../harness/crash-world.ts";
import { LiveSale } from "../harness/live-sale.ts";

/** A crowd a hundred times larger than what is served comes for a moment; afterwards all must be as before. */
/** At once; the crowd that is served asks some 25 times a second: far more than a hundred for each of those, unless this takes 5 s. */
const FLOOD = 12_000;
const CONNECTIONS = 300;
const SERVED_IN_A_ROW = 50;
const FLOOD_UNITS = 300;
/** Small, so that the flood fills the queues. */
const VARIABLES = { DOORBUSTER_QUEUE_LIMIT: "100", DOORBUSTER_SALE_RATE: "50", DOORBUSTER_SALE_BURST: "50" };

let world: CrashWorld;
beforeAll(async () => {
  world = await CrashWorld.start({}, VARIABLES);
}, 180_000);
afterAll(() => world?.close());

/** As fast as they go. @returns how often each status was answered; 0 = no answer */
const flood = async (saleId: string): Promise<ReadonlyMap<number, number>> => {
  const pool = new Pool(new URL(world.urlOf(saleId, "x")).origin, { connections: CONNECTIONS });
  const statuses = new Map<number, number>();
  let next = 0;
  const one = async (): Promise<void> => {
    for (let n = next++; n < FLOOD; n = next++) {
      const status = await pool.request({ method: "POST", path: new URL(world.urlOf(saleId, `f${n}`)).pathname }).then(
        async ({ statusCode, body }) => {
          await body.dump();
          return statusCode;
        },
        () => 0,
      );
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, one));
  await pool.close();
  return statuses;
};

describe("an overload", { timeout: 240_000 }, () => {
  it("is refused with answers of ours, sells nothing twice, and leaves the goodput as it was", async () => {
    const sale = await LiveSale.open(world, "normal");
    await world.openSale("flood", FLOOD_UNITS);
    const statuses = await flood("flood");
    const known = new Set([202, 409, 429, 503]);
    expect([...statuses.keys()].filter((status) => !known.has(status))).toEqual([]);
    expect((statuses.get(429) ?? 0) + (statuses.get(503) ?? 0)).toBeGreaterThan(0);
    // The goodput is back when everybody who comes wins with the first request: nobody is told to come again, none hears nothing.
    const refused = (): number => sale.counts.later + sale.counts.silent;
    let [won, had] = [sale.counts.won, refused()];
    await until(
      () => {
        if (refused() > had) [won, had] = [sale.counts.won, refused()];
        return sale.counts.won >= won + SERVED_IN_A_ROW;
      },
      `${SERVED_IN_A_ROW} of the normal crowd to be served at once, one after the other`,
      120_000,
    );
    expect(await sale.end()).toEqual([]);
    const { sold, free } = await world.auditAtRest("flood");
    expect(sold + free).toBe(FLOOD_UNITS);
    expect(sold).toBe(statuses.get(202) ?? 0);
  });
});
