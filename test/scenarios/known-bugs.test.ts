import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { environment, StackWorld, until } from "../harness/index.ts";

/**
 * Bugs that real flash-sale systems have (scenarios 1, 2 and 6, and most of 7), through the public doors of a whole stack.
 * Scenario 3 is test/faults/steps: each step killed, timed out and failed; the rest of 7 late-workers and test/faults/stores;
 * 8 is scope, 9 transfers. 4 and 5 are about payment and expiry.
 */
const RETURNS = 3;

let world: StackWorld;
beforeAll(async () => {
  // A shard whose row cannot be read closes after 5 s; here workers are stopped for as long as a busy machine takes.
  world = await StackWorld.start({ shards: 2, environment: { ...environment, DOORBUSTER_OPEN_MS: "60000" } });
}, 180_000);
afterAll(() => world?.close());

const signalWorkers = async (name: NodeJS.Signals): Promise<void> => {
  for (const pid of (await world.stack.info()).programs.workers) process.kill(pid, name);
};

const many = <T>(count: number, make: (n: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => make(n)));

// Also those that a failed test left stopped.
afterEach(() => signalWorkers("SIGCONT"));

describe("1: the winner's repeat on the last unit", { timeout: 120_000 }, () => {
  it("gets the same win, also while the first answer is on its way", async () => {
    await world.openStocked("last-unit", 1);
    const [first, second] = await Promise.all([world.buy("last-unit", "winner"), world.buy("last-unit", "winner")]);
    expect(first.orderId).toBeDefined();
    expect(second.orderId).toBe(first.orderId);
    expect((await world.buy("last-unit", "other")).code).toBe("sold_out");
    // Between the deduction and the delivery.
    await world.openStocked("undelivered", 1);
    await signalWorkers("SIGSTOP");
    const deducted = await world.buy("undelivered", "winner");
    expect(await world.buy("undelivered", "winner")).toEqual(deducted);
    expect(deducted.code).toBe("reserved");
    await signalWorkers("SIGCONT");
    expect(await world.final("undelivered", "winner")).toMatchObject({ code: "confirmed", orderId: deducted.orderId });
    expect(await world.auditAtRest("undelivered")).toMatchObject({ free: 0, sold: 1, rejected: 0 });
    expect(await world.auditAtRest("last-unit")).toMatchObject({ free: 0, sold: 1 });
  });

  it("gets the same win after the gateway was killed right behind the deduction", async () => {
    await world.openStocked("killed-edge", 1);
    await signalWorkers("SIGSTOP");
    const url = world.urlOf("killed-edge", "winner");
    // With the workers stopped this answer is held: the unit is taken, the buyer knows nothing.
    const held = world.once("POST", url, { prefer: "wait=30" });
    await until(async () => (await world.once("GET", url)).code === "reserved", "the unit to be taken");
    const { orderId } = await world.once("GET", url);
    world.stack.kill("gateway");
    expect((await held).code).toBe("away");
    await signalWorkers("SIGCONT");
    expect((await world.buy("killed-edge", "winner")).orderId).toBe(orderId);
    expect(await world.final("killed-edge", "winner")).toMatchObject({ code: "confirmed", orderId });
    expect(await world.auditAtRest("killed-edge")).toMatchObject({ free: 0, sold: 1 });
    await world.stack.ready();
  });
});

describe("2: double fire before the order exists", { timeout: 120_000 }, () => {
  it("takes one unit, and the other nine go to nine others", async () => {
    await world.openStocked("double-fire", 10);
    await signalWorkers("SIGSTOP");
    const fired = await many(50, () => world.buy("double-fire", "eager"));
    expect(new Set(fired.map(({ orderId }) => orderId)).size).toBe(1);
    await signalWorkers("SIGCONT");
    const others = await many(9, (n) => world.buy("double-fire", `other${n}`));
    expect(others.every(({ orderId }) => orderId !== undefined)).toBe(true);
    expect((await world.buy("double-fire", "late")).code).toBe("sold_out");
    expect(await world.auditAtRest("double-fire")).toMatchObject({ free: 0, sold: 10, rejected: 0 });
  });
});

describe("6: reload over live stock", { timeout: 180_000 }, () => {
  it("keeps the identity at each checkpoint while a gateway restarts, the sale is opened again and stock is added", async () => {
    const [units, more] = [300, 500];
    const now = Date.now();
    const definition = { id: "reload", title: "reload", units, opensAtMs: now - 1_000, closesAtMs: now + 3_600_000, payWithinMs: 0 };
    await world.openStocked("reload", units, definition);
    await signalWorkers("SIGSTOP");
    const early = await many(100, (n) => world.buy("reload", `early${n}`));
    expect(new Set(early.map(({ code }) => code))).toEqual(new Set(["reserved"]));
    let total = units;
    const checkpoint = async (): Promise<void> => {
      const report = await world.audit();
      expect(report.differences.filter(({ kind }) => kind !== "unsettled")).toEqual([]);
      const sale = report.sales.find(({ id }) => id === "reload");
      expect(sale).toMatchObject({ total });
      expect((sale?.free ?? 0) + (sale?.reserved ?? 0) + (sale?.inFlight ?? 0) + (sale?.sold ?? 0)).toBe(total);
    };
    await checkpoint();
    world.stack.kill("gateway");
    await checkpoint();
    await signalWorkers("SIGCONT");
    await world.stack.ready();
    // Warmed up again, as after a reload: the same definition, and the stock that was added, each said twice.
    for (let turn = 0; turn < 2; turn += 1) {
      await world.admin("/sales", definition);
      await world.admin("/sales/reload/units", { grantId: "more", units: more });
      total = units + more;
      await checkpoint();
    }
    const late = await many(900, (n) => world.buy("reload", `late${n}`));
    await checkpoint();
    expect(late.filter(({ orderId }) => orderId !== undefined)).toHaveLength(units + more - early.length);
    for (const [n, { orderId }] of early.entries()) expect((await world.buy("reload", `early${n}`)).orderId).toBe(orderId);
    expect(await world.auditAtRest("reload")).toMatchObject({ total: units + more, free: 0, sold: units + more });
  });
});

describe("7: workers that are behind", { timeout: 180_000 }, () => {
  it("work a backlog off: every unit is accounted for meanwhile, every buyer reaches an answer", async () => {
    const units = 300;
    await world.openStocked("backlog", units);
    await signalWorkers("SIGSTOP");
    const answers = await many(units, (n) => world.buy("backlog", `b${n}`));
    expect(new Set(answers.map(({ code }) => code))).toEqual(new Set(["reserved"]));
    expect((await world.buy("backlog", "late")).code).toBe("sold_out");
    const during = (await world.audit()).sales.find(({ id }) => id === "backlog");
    expect(during).toMatchObject({ total: units, free: 0 });
    expect((during?.reserved ?? 0) + (during?.inFlight ?? 0) + (during?.sold ?? 0)).toBe(units);
    await signalWorkers("SIGCONT");
    for (let n = 0; n < units; n++)
      expect(await world.final("backlog", `b${n}`)).toMatchObject({ code: "confirmed", orderId: answers[n]?.orderId });
    expect(await world.auditAtRest("backlog")).toMatchObject({ free: 0, sold: units });
  });

  it("a unit that comes after sold-out clears the flag within a second, and can be bought", async () => {
    await world.openStocked("return", 1);
    await world.buy("return", "first");
    await world.auditAtRest("return");
    const page = world.urlOf("return", "x").replace(/\/buy\/.*/, "/sales/return");
    const isFlagged = async (): Promise<boolean> => ((await (await fetch(page)).json()) as { soldOut: boolean }).soldOut;
    const clearedMs: number[] = [];
    for (let turn = 0; turn < RETURNS; turn += 1) {
      await until(isFlagged, "the sale to be flagged sold out", 20_000);
      expect((await world.buy("return", `late${turn}`)).code).toBe("sold_out");
      const addedAt = performance.now();
      await world.admin("/sales/return/units", { grantId: `more${turn}`, units: 1 });
      await until(async () => !(await isFlagged()), "the flag to be cleared", 20_000, 10);
      clearedMs.push(performance.now() - addedAt);
      await until(async () => (await world.buy("return", `late${turn}`)).orderId !== undefined, "the unit to be sold", 20_000);
    }
    // The one length of time that a scenario states; the quickest of some, because the others are the machine's.
    expect(Math.min(...clearedMs)).toBeLessThan(1_000);
    expect((await world.buy("return", "first")).orderId).toBeDefined();
    expect(await world.auditAtRest("return")).toMatchObject({ total: 1 + RETURNS, free: 0, sold: 1 + RETURNS });
  });
});
