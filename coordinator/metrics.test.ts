import { Writable } from "node:stream";
import { pino } from "pino";
import { beforeEach, describe, expect, it } from "vitest";
import { createMetrics, type CoordinatorMetrics } from "./metrics.ts";
import { AttemptResult } from "./shards/attempt/attempt.ts";

let now = { ms: 0 };
let lines: Record<string, unknown>[] = [];
let metrics: CoordinatorMetrics;
beforeEach(() => {
  now = { ms: 1_000 };
  lines = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  metrics = createMetrics(pino({ base: null, timestamp: false }, stream), { monotonicMs: () => now.ms, sleep: async () => undefined });
});

const shown = async (name: string): Promise<string[]> =>
  (await metrics.registry.metrics()).split("\n").filter((line) => line.startsWith(name));

describe("an attempt to begin an epoch", () => {
  it("shows the step at which it is, and none when it has ended", async () => {
    const shard = metrics.shard(3);
    for (const phase of ["ask", "close"] as const) shard.attempting(phase, undefined);
    expect(await shown("doorbuster_epoch_attempt_step")).toEqual(['doorbuster_epoch_attempt_step{shard="3",step="close"} 1']);
    now.ms += 250;
    shard.attempted(AttemptResult.opened, 7);
    expect(await shown("doorbuster_epoch_attempt_step")).toEqual([]);
    const attempts = await shown("doorbuster_epoch_attempts_total");
    expect(attempts.filter((line) => !line.endsWith(" 0"))).toEqual(['doorbuster_epoch_attempts_total{shard="3",result="opened"} 1']);
    expect(attempts).toHaveLength(Object.values(AttemptResult).length);
    expect(lines.map(({ msg, phase }) => [msg, phase])).toEqual([
      ["attempt to begin an epoch: next step", "ask"],
      ["attempt to begin an epoch: next step", "close"],
      ["attempt to begin an epoch has ended", undefined],
    ]);
    expect(lines.at(-1)).toMatchObject({ shard: 3, epoch: 7, result: AttemptResult.opened, endedInPhase: "close", tookMs: 250 });
  });

  it("shows each piece of progress of a rebuild, and logs one a second", async () => {
    const shard = metrics.shard(0);
    for (let orders = 0; orders <= 3_000; orders += 1_000) {
      shard.attempting("restore", { orders, ofUnits: 5_000, done: false });
      expect(await shown("doorbuster_restored_orders")).toEqual([`doorbuster_restored_orders{shard="0"} ${orders}`]);
      now.ms += 500;
    }
    expect(await shown("doorbuster_restore_units")).toEqual(['doorbuster_restore_units{shard="0"} 5000']);
    expect(lines.filter(({ msg }) => msg === "shard is being rebuilt").map(({ orders }) => orders)).toEqual([0, 2_000]);
  });
});

describe("a fault", () => {
  it("is counted each time, and logged when it is new, another one, or long ago", async () => {
    for (const [afterMs, text] of [
      [0, "away"],
      [50, "away"],
      [50, "no memory"],
      [50, "away"],
      [10_001, "away"],
    ] as const) {
      now.ms += afterMs;
      metrics.fault("shard 1", new Error(text));
    }
    metrics.fault("shard 2", new Error("away"));
    expect(await shown("doorbuster_coordinator_faults_total")).toEqual([
      'doorbuster_coordinator_faults_total{where="shard 1"} 5',
      'doorbuster_coordinator_faults_total{where="shard 2"} 1',
    ]);
    expect(lines.map(({ where, err }) => [where, (err as Error).message])).toEqual([
      ["shard 1", "away"],
      ["shard 1", "no memory"],
      ["shard 1", "away"],
      ["shard 1", "away"],
      ["shard 2", "away"],
    ]);
  });
});
