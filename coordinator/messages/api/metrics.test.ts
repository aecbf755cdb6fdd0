import { Registry } from "prom-client";
import { expect, it } from "vitest";
import { messageMetrics } from "./metrics.ts";

it("shows all other numbers, and the messages as they were counted before, while a shard hangs", async () => {
  const registry = new Registry();
  let hang: Promise<never> | undefined;
  const counts = () => hang ?? Promise.resolve({ waiting: 3, dead: 1, all: 9 });
  messageMetrics(registry, { counts, inFlight: () => 7 });
  const shown = async (): Promise<string[]> =>
    (await registry.metrics()).split("\n").filter((line) => line.startsWith("doorbuster_messages"));
  const counted = [
    'doorbuster_messages{kind="waiting"} 3',
    'doorbuster_messages{kind="dead"} 1',
    'doorbuster_messages{kind="all"} 9',
    "doorbuster_messages_in_flight 7",
  ];
  expect(await shown()).toEqual(counted);
  hang = new Promise<never>(() => undefined);
  expect(await shown()).toEqual(counted);
  expect(await shown()).toEqual(counted);
});
