import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Fair, until } from "../harness/index.ts";

/** Bugs that real flash-sale systems have (scenarios 1, 2, 7 and 8), through the public doors of a whole stack. */
let fair: Fair;
beforeAll(async () => {
  fair = await Fair.open({ shards: 2 });
}, 180_000);
afterAll(() => fair?.close());

const signalWorkers = async (name: NodeJS.Signals): Promise<void> => {
  for (const pid of (await fair.stack.info()).programs.workers) process.kill(pid, name);
};

const many = <T>(count: number, make: (n: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => make(n)));

describe("1: the winner's repeat on the last unit", { timeout: 120_000 }, () => {
  it("gets the same win, also while the first answer is on its way", async () => {
    await fair.openSale("last-unit", 1);
    const [first, second] = await Promise.all([fair.buy("last-unit", "winner"), fair.buy("last-unit", "winner")]);
    expect(first.orderId).toBeDefined();
    expect(second.orderId).toBe(first.orderId);
    expect((await fair.buy("last-unit", "other")).code).toBe("sold_out");
    expect(await fair.auditAtRest("last-unit")).toMatchObject({ free: 0, sold: 1 });
  });

  it("gets the same win after the gateway was killed right behind the deduction", async () => {
    await fair.openSale("killed-edge", 1);
    await signalWorkers("SIGSTOP");
    const url = fair.urlOf("killed-edge", "winner");
    // With the workers stopped this answer is held: the unit is taken, the buyer knows nothing.
    const held = fair.once("POST", url, { prefer: "wait=30" });
    await until(async () => (await fair.once("GET", url)).code === "reserved", "the unit to be taken");
    const { orderId } = await fair.once("GET", url);
    fair.stack.kill("gateway");
    expect((await held).code).toBe("away");
    await signalWorkers("SIGCONT");
    expect((await fair.buy("killed-edge", "winner")).orderId).toBe(orderId);
    expect(await fair.final("killed-edge", "winner")).toMatchObject({ code: "confirmed", orderId });
    expect(await fair.auditAtRest("killed-edge")).toMatchObject({ free: 0, sold: 1 });
    await fair.stack.ready();
  });
});

describe("2: double fire before the order exists", { timeout: 120_000 }, () => {
  it("takes one unit, and the other nine go to nine others", async () => {
    await fair.openSale("double-fire", 10);
    await signalWorkers("SIGSTOP");
    const fired = await many(50, () => fair.buy("double-fire", "eager"));
    expect(new Set(fired.map(({ orderId }) => orderId)).size).toBe(1);
    await signalWorkers("SIGCONT");
    const others = await many(9, (n) => fair.buy("double-fire", `other${n}`));
    expect(others.every(({ orderId }) => orderId !== undefined)).toBe(true);
    expect((await fair.buy("double-fire", "late")).code).toBe("sold_out");
    expect(await fair.auditAtRest("double-fire")).toMatchObject({ free: 0, sold: 10, rejected: 0 });
  });
});

describe("7: workers that are behind", { timeout: 180_000 }, () => {
  it("work a backlog off: every unit is accounted for meanwhile, every buyer reaches an answer", async () => {
    const units = 300;
    await fair.openSale("backlog", units);
    await signalWorkers("SIGSTOP");
    const told = await many(units, (n) => fair.buy("backlog", `b${n}`));
    expect(new Set(told.map(({ code }) => code))).toEqual(new Set(["reserved"]));
    expect((await fair.buy("backlog", "late")).code).toBe("sold_out");
    const during = (await fair.audit()).sales.find(({ id }) => id === "backlog");
    expect(during).toMatchObject({ total: units, free: 0 });
    expect((during?.reserved ?? 0) + (during?.inFlight ?? 0) + (during?.sold ?? 0)).toBe(units);
    await signalWorkers("SIGCONT");
    for (let n = 0; n < units; n++)
      expect(await fair.final("backlog", `b${n}`)).toMatchObject({ code: "confirmed", orderId: told[n]?.orderId });
    expect(await fair.auditAtRest("backlog")).toMatchObject({ free: 0, sold: units });
  });

  it("an added unit clears sold-out and can be bought", async () => {
    await fair.openSale("return", 1);
    await fair.buy("return", "first");
    await fair.auditAtRest("return");
    const soldOut = async (): Promise<boolean> => {
      const response = await fetch(fair.urlOf("return", "x").replace(/\/buy\/.*/, "/sales/return"));
      return ((await response.json()) as { soldOut: boolean }).soldOut;
    };
    await until(soldOut, "the sale to be flagged sold out", 20_000);
    expect((await fair.buy("return", "second")).code).toBe("sold_out");
    await fair.admin("/sales/return/units", { grantId: "more", units: 1 });
    await until(async () => (await fair.buy("return", "second")).orderId !== undefined, "the added unit to be sold", 20_000);
    expect((await fair.buy("return", "first")).orderId).toBeDefined();
    expect(await fair.auditAtRest("return")).toMatchObject({ total: 2, free: 0, sold: 2 });
  });
});

describe("8: scope of guards", { timeout: 120_000 }, () => {
  it("a limit above one holds over purchases, keys and repeats", async () => {
    await fair.openSale("limit", 10, { limitPerBuyer: 3 });
    const bought = await many(8, (n) => fair.buy("limit", "hungry", { "idempotency-key": `k${n % 4}` }));
    const orders = new Set(bought.flatMap(({ orderId }) => (orderId === undefined ? [] : [orderId])));
    expect(orders.size).toBe(3);
    expect(bought.filter(({ orderId }) => orderId === undefined).every(({ code }) => code === "limit_reached")).toBe(true);
    expect(await fair.auditAtRest("limit")).toMatchObject({ free: 7, sold: 3 });
  });

  it("a request of the first day, repeated after the sale, gets its first answer", async () => {
    await fair.openSale("day-one", 5);
    const first = await fair.buy("day-one", "early");
    await fair.final("day-one", "early");
    await fair.admin("/sales/day-one/state", { state: "closed" });
    let tourists = 0;
    // Each a new one: who got a unit before the closing would hear of it for ever.
    await until(async () => (await fair.buy("day-one", `tourist${tourists++}`)).code === "closed", "the sale to be closed", 20_000);
    expect(await fair.buy("day-one", "early")).toMatchObject({ status: 200, code: "confirmed", orderId: first.orderId });
  });
});
