import { afterAll, beforeAll, expect, it } from "vitest";
import { saleKeys } from "#lua";
import { until } from "../test/harness/index.ts";
import { startGatewayWorld, type GatewayWorld } from "../test/harness/gateway-world.ts";
import { ticketFor } from "../test/harness/edge-world.ts";
import { endGateways, GatewayProgram } from "../test/harness/gateway-program.ts";
import { ask, request, type WireAnswer } from "../test/harness/wire.ts";

/** Two sales on one shard; somebody writes the stock of one of them, in its middle. */
const FORGED = "forged";
const SOUND = "sound";
const BUYERS = 30;

let world: GatewayWorld;
let gateway: GatewayProgram;
beforeAll(async () => {
  world = await startGatewayWorld();
  await world.connection.jetstream().views.kv("sales");
  for (const id of [FORGED, SOUND]) await world.openSale({ id }, 1_000);
  gateway = await GatewayProgram.start(world);
}, 60_000);
afterAll(async () => {
  await endGateways();
  await world.stop();
});

const buy = (saleId: string, uid: string): Promise<WireAnswer | undefined> =>
  ask(gateway.port, request("POST", `/buy/${ticketFor(uid, saleId)}`)).catch(() => undefined);
const told = (answer: WireAnswer | undefined): unknown[] => [answer?.status, (JSON.parse(answer?.body ?? "{}") as { code?: string }).code];
const metrics = async (): Promise<string> => gateway.metrics();
const untilMetrics = (lines: readonly string[], what: string): Promise<void> =>
  until(
    async () => {
      const text = (await metrics().catch(() => "")).split("\n");
      return lines.every((line) => text.includes(line));
    },
    what,
    30_000,
  );
const WHOLE = ["doorbuster_gateway_processes_ready 2", "doorbuster_gateway_scrape_complete 1"];
const count = (times: number): string => `doorbuster_gateway_invariant_violations_total{invariant="stock"} ${times}`;

it("a forged stock ends one process once; the others and its successor refuse that sale and sell the other", async () => {
  await untilMetrics([...WHOLE, count(0)], "both processes");
  const ann = await buy(FORGED, "ann");
  expect(told(ann)).toEqual([202, "reserved"]);
  const before = await gateway.processes();
  const { sale } = saleKeys(0, FORGED);
  const left = (await world.client(0).hget(sale, "left")) as string;
  await world.client(0).hset(sale, "left", "-1");

  expect([undefined, 503]).toContain((await buy(FORGED, "bob"))?.status);
  await untilMetrics([...WHOLE, count(1), "doorbuster_gateway_restarts 1"], "the process to be replaced");
  expect(gateway.output.match(/"level":60/g)).toHaveLength(1);
  expect(gateway.output).toMatch(/"level":60,.*"alert":true,.*INVARIANT stock at \{s0\} forged: /);
  expect(gateway.output).toMatch(/"code":70,.*"process died, starting another"/);
  const after = await gateway.processes();
  expect(after.filter((pid) => before.includes(pid))).toHaveLength(1);

  // each on a connection of its own: both processes get some of them
  for (let n = 0; n < BUYERS; n += 1) {
    expect(told(await buy(FORGED, `c${n}`))).toEqual([503, "try_again"]);
    expect(told(await buy(SOUND, `c${n}`))).toEqual([202, "reserved"]);
  }
  await untilMetrics([...WHOLE, count(1 + BUYERS), "doorbuster_gateway_restarts 1"], "each refusal to be counted");
  expect(await gateway.processes()).toEqual(after);
  // one family, in the primary's part
  expect((await metrics()).match(/^# TYPE doorbuster_gateway_invariant_violations_total/gm)).toHaveLength(1);

  await world.client(0).hset(sale, "left", left);
  const again = await buy(FORGED, "ann");
  expect(JSON.parse(again?.body ?? "")).toEqual(JSON.parse(ann?.body ?? ""));
  expect(told(await buy(FORGED, "bob"))).toEqual([202, "reserved"]);
}, 120_000);
