import { describe, expect, it } from "vitest";
import { shardOf } from "#protocol/shard-map";
import type { Clock } from "#protocol/ports";
import { Placement, type PlacementStore } from "./placement.ts";

/** Notes of shards, on one clock, as message-placement.lua keeps them; the margin after which one is forgotten left out. */
const notes = (): { store: PlacementStore; now: { ms: number }; clock: Clock; away: Set<number> } => {
  const now = { ms: 1_000_000 };
  const away = new Set<number>();
  const noted = new Map<number, Map<number, number>>();
  const store: PlacementStore = {
    notePlacement: async (shard, count) => {
      if (away.has(shard)) throw new Error("away");
      const there = noted.get(shard) ?? new Map<number, number>();
      noted.set(shard, there);
      there.set(count, now.ms);
      return { nowMs: now.ms, notedAtMs: new Map(there) };
    },
  };
  return { store, now, away, clock: { monotonicMs: () => now.ms, sleep: async () => undefined } };
};
const GIDS = Array.from({ length: 200 }, (_, i) => `gid-${i}`);

describe("a place", () => {
  it("is by the smallest number in use; homes by the others are given up first", async () => {
    const { store, clock } = notes();
    const [two, four] = [new Placement(store, { shards: 4, count: 2, clock }), new Placement(store, { shards: 4, count: 4, clock })];
    for (const placement of [two, four, two]) await placement.refresh();
    for (const gid of GIDS) {
      const place = { shard: shardOf(gid, 2), count: 2, yields: shardOf(gid, 4) === shardOf(gid, 2) ? [] : [shardOf(gid, 4)] };
      expect(two.place(gid)).toMatchObject(place);
      expect(four.place(gid)).toMatchObject(place);
    }
    expect([two.mixed(), four.mixed()]).toEqual([true, true]);
  });

  it("is by the own number again when nobody has noted another for the margin", async () => {
    const { store, now, clock } = notes();
    const [two, four] = [new Placement(store, { shards: 4, count: 2, clock }), new Placement(store, { shards: 4, count: 4, clock })];
    for (const placement of [two, four]) await placement.refresh();
    now.ms += 119_000;
    await four.refresh();
    expect(four.place("a").count).toBe(2);
    now.ms += 2_000;
    await four.refresh();
    expect(four.place("a")).toMatchObject({ count: 4, yields: [] });
  });

  it("that one of two does not know of the other's number is known to be there by the other", async () => {
    for (const [earlier, later] of [
      [2, 4],
      [4, 2],
    ] as const) {
      const { store, clock } = notes();
      const [first, second] = [
        new Placement(store, { shards: 4, count: earlier, clock }),
        new Placement(store, { shards: 4, count: later, clock }),
      ];
      await first.refresh();
      await second.refresh();
      expect(first.place("a").count).toBe(earlier);
      expect(second.place("a").count).toBe(2);
    }
  });

  it("on fewer shards than there are is none while one beyond them cannot be told", async () => {
    const { store, now, clock, away } = notes();
    const [two, three] = [new Placement(store, { shards: 3, count: 2, clock }), new Placement(store, { shards: 3, count: 3, clock })];
    away.add(2);
    await two.refresh();
    expect(two.place("a").untilMs).toBe(0);
    away.clear();
    await two.refresh();
    expect(two.place("a").untilMs).toBe(now.ms + 15_000);
    // who uses all of them needs only the shard where it creates
    const gid = GIDS.find((one) => shardOf(one, 3) === 0) ?? "";
    away.add(2);
    await three.refresh();
    expect(three.place(gid, 3).untilMs).toBe(now.ms + 15_000);
    now.ms += 15_000;
    await two.refresh();
    expect(two.place("a").untilMs).toBe(0);
  });

  it("holds until the notes were read too long ago, by the shard's clock; before they were read, never", async () => {
    const { store, now, clock } = notes();
    const placement = new Placement(store, { shards: 2, count: 2, clock });
    expect(placement.place("a").untilMs).toBe(0);
    await placement.refresh();
    expect(placement.place("a").untilMs).toBe(now.ms + 15_000);
  });

  it("is waited for while the shards are asked for the first time, and not for ever", async () => {
    const { store, now, clock, away } = notes();
    const start = now.ms;
    const sleeping: Clock = {
      ...clock,
      sleep: async (ms) => {
        now.ms += ms;
        // the second answers late
        if (now.ms === start + 500) away.delete(1);
        await placement.refresh();
      },
    };
    const placement: Placement = new Placement(store, { shards: 2, count: 2, clock: sleeping });
    away.add(1);
    await placement.started();
    expect([now.ms, placement.unheard()]).toEqual([start + 500, []]);

    const lame: Placement = new Placement(store, { shards: 2, count: 2, clock: { ...sleeping, sleep: async (ms) => void (now.ms += ms) } });
    const again = now.ms;
    await lame.started();
    expect([now.ms, lame.unheard()]).toEqual([again + 2_000, [0, 1]]);
  });
});
