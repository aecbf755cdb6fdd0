import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { environment, FaultNet, until } from "../harness/index.ts";
import type { ProgramName } from "../../deploy/local/index.ts";
import { CrashWorld } from "../harness/crash-world.ts";
import { LiveSale } from "../harness/live-sale.ts";

/**
 * Known bug 3: a step after the decrement fails. After each step of a purchase its program is killed, its answer does not
 * come (the step timed out, and happened), or the call fails although it happened; in the middle of a sale, at the end of
 * which every unit is somewhere, everybody has one definite answer, and no unit was given back for an order that is stored.
 */
const isWhole = environment["CRASH_MATRIX"] === "whole";

interface Step {
  readonly step: string;
  readonly program: ProgramName;
  /** where the step is done */
  readonly point: string;
  /** where the request passes that does it, and how it looks there */
  readonly pair: string;
  readonly request: RegExp;
}

const STEPS: readonly Step[] = [
  { step: "deduct", program: "gateway", point: "buy.reserve:after", pair: "gateway:redis", request: /evalsha/i },
  { step: "append", program: "coordinator", point: "log.append:after", pair: "coordinator:nats", request: /^H?PUB orders\./m },
  { step: "insert", program: "workers", point: "apply.insertOrders:after", pair: "workers:postgres", request: /INSERT INTO orders/ },
  { step: "commit", program: "workers", point: "apply.transaction:after", pair: "workers:postgres", request: /commit/i },
  { step: "ack", program: "workers", point: "delivery.ack:after", pair: "workers:nats", request: /^H?PUB \$JS\.ACK/m },
];
/** Not the first of what a program does. */
const PASS = 3;
const WINNERS_MEANWHILE = 20;

let net: FaultNet;
let world: CrashWorld;
beforeAll(async () => {
  net = new FaultNet();
  world = await CrashWorld.start({ route: net.route });
}, 180_000);
afterAll(async () => {
  await world?.close();
  await net?.close();
});

let number = 0;
const openSale = (): Promise<LiveSale> => LiveSale.open(world, `step-${number++}`);

const untilWon = async (sale: LiveSale): Promise<void> => {
  const upto = sale.counts.won + WINNERS_MEANWHILE;
  await until(() => sale.counts.won >= upto, "the sale to go on", 120_000);
};

/** The request is executed, and nothing comes back on its connection from then on. */
const silence = async ({ pair, request }: Step): Promise<void> => {
  const proxies = net.pairs.filter((name) => name.startsWith(pair)).map((name) => net.proxy(name));
  expect(await Promise.race(proxies.map((proxy) => proxy.loseAnswer((bytes) => request.test(bytes.toString("latin1")), "silent")))).toBe(
    true,
  );
};

const rows = (chosen: string): readonly (readonly [string, Step])[] =>
  STEPS.filter(({ step }) => isWhole || step === chosen).map((step) => [step.step, step] as const);

describe("a step that happened, and then", { timeout: 240_000 }, () => {
  it.runIf(isWhole).each(rows("none"))("its program is killed: %s", async (_name, { program, point }) => {
    const sale = await openSale();
    const before = await world.reached({ program, point });
    world.arm({ program, point, pass: PASS });
    await until(async () => (await world.reached({ program, point })) > before, `${point} to be reached`, 60_000);
    expect(await sale.end()).toEqual([]);
  });

  it.runIf(isWhole)("its program is killed: append, before it was acknowledged", async () => {
    const sale = await openSale();
    await silence(STEPS[1] as Step);
    world.stack.kill("coordinator");
    net.heal();
    expect(await sale.end()).toEqual([]);
  });

  it.each(rows("append"))("it times out: %s", async (_name, step) => {
    const sale = await openSale();
    await silence(step);
    // The silent connection stays as it is: whoever waits on it has to give it up.
    await untilWon(sale);
    net.heal();
    expect(await sale.end()).toEqual([]);
  });

  it.each(rows("commit"))("it fails: %s", async (_name, { program, point }) => {
    const sale = await openSale();
    const before = await world.reached({ program, point });
    world.arm({ program, point, pass: PASS }, ":throw");
    await until(async () => (await world.reached({ program, point })) > before, `${point} to be reached`, 60_000);
    await untilWon(sale);
    expect(await sale.end()).toEqual([]);
  });
});
