import { describe, expect, it } from "vitest";
import type { ShardFacts } from "#protocol";
import { paletteOf } from "./color.ts";
import { shardsText } from "./shards-text.ts";

type Attempt = NonNullable<ShardFacts["attempt"]>;

const running: Attempt = { holder: "here/12", phase: "close", orders: 0, ofUnits: 0, result: null, agoMs: 40 };

const factsOf = (attempt: Attempt | null): ShardFacts => ({
  shard: 3,
  state: "recovering",
  epoch: 7,
  redisEpoch: 7,
  mode: "rebuild",
  holder: "here/12",
  outboxEntries: 0,
  oldestMs: null,
  sales: 1,
  units: { left: 5, reserved: 0, sold: 10, arriving: 0 },
  memory: null,
  halted: null,
  draining: false,
  attempt,
});

/** what stands below the table */
const notesOf = (facts: ShardFacts): string[] =>
  shardsText([facts], paletteOf({}, {}))
    .split("\n")
    .filter((line) => line.startsWith("shard "));

describe("what `doorbuster shards` says of a shard's attempt to begin an epoch", () => {
  it("is the step at which it is and who makes it, and while it restores how far that is", () => {
    expect(notesOf(factsOf(running))).toEqual(["shard 3: close, by here/12"]);
    expect(notesOf(factsOf({ ...running, phase: "restore", orders: 42_000, ofUnits: 100_000 }))).toEqual([
      "shard 3: restore 42,000 orders of 100,000 units, by here/12",
    ]);
  });

  it("is for a minute that it opened, and what it restored", () => {
    const opened: Attempt = { ...running, phase: "open", result: "opened", agoMs: 2_340 };
    expect(notesOf(factsOf(opened))).toEqual(["shard 3: opened 2.3 s ago"]);
    expect(notesOf(factsOf({ ...opened, orders: 99_000, ofUnits: 100_000, agoMs: 60_000 }))).toEqual([
      "shard 3: opened 60 s ago, restored 99,000 orders of 100,000 units",
    ]);
    expect(notesOf(factsOf({ ...opened, agoMs: 60_001 }))).toEqual([]);
  });

  it("is how the last one failed and at which step, however long ago", () => {
    expect(notesOf(factsOf({ ...running, phase: "await", result: "no_progress", agoMs: 600_000 }))).toEqual([
      "shard 3: the last attempt ended no_progress at await 600 s ago",
    ]);
  });

  it("is nothing where none was heard of, and stands behind what is worse", () => {
    expect(notesOf(factsOf(null))).toEqual([]);
    expect(
      notesOf({ ...factsOf(running), halted: "unknown sale", redisEpoch: 9, units: { left: 5, reserved: 0, sold: 10, arriving: 4 } }),
    ).toEqual(["shard 3: halted: unknown sale; Redis is at epoch 9, beyond Postgres; 4 units arriving; close, by here/12"]);
  });
});

it("says of an outbox that does not move how long its first entry waits", () => {
  expect(notesOf({ ...factsOf(null), outboxEntries: 3, oldestMs: 9_999 })).toEqual([]);
  expect(notesOf({ ...factsOf(null), outboxEntries: 3, oldestMs: 47_000 })).toEqual([
    "shard 3: its outbox does not move: the first entry waits for 47 s",
  ]);
});

describe("what it says of a shard's memory", () => {
  const withMemory = (usedBytes: number, mostBytes: number): ShardFacts => ({ ...factsOf(null), memory: { usedBytes, mostBytes } });
  const cellOf = (facts: ShardFacts): string | undefined =>
    shardsText([facts], paletteOf({}, {}))
      .split("\n")
      .find((line) => line.includes("recovering"))
      ?.split("│")[5]
      ?.trim();

  it("is the share of what Redis may use, and that it is full", () => {
    expect([cellOf(factsOf(null)), cellOf(withMemory(5, 0)), cellOf(withMemory(970, 1_000))]).toEqual(["-", "-", "97 %"]);
    expect(notesOf(withMemory(1_000, 1_000))).toEqual([]);
    expect(notesOf(withMemory(1_001, 1_000))).toEqual(["shard 3: its Redis is full: new buyers hear busy until there is room"]);
  });
});
