import { describe, expect, it } from "vitest";
import type { StatusEvent } from "#protocol/status";

import type { OnOutcome, Outcome } from "./outcome.ts";
import { ASK_AGAIN_MS, Waiting } from "./waiting.ts";

/** Waiters over a Redis that is asked by hand: what is asked stays in `asked` until the test answers it. */
const waitingRoom = (
  limit = 100,
): {
  waiting: Waiting;
  asked: { uid: string; answer: OnOutcome }[];
  told: string[];
  wait: (uid: string, orderId: string) => () => void;
} => {
  const asked: { uid: string; answer: OnOutcome }[] = [];
  const told: string[] = [];
  const waiting = new Waiting((_shard, { uid }, answer) => asked.push({ uid, answer }), limit);
  return {
    waiting,
    asked,
    told,
    wait: (uid, orderId) =>
      waiting.add({ saleId: "s", uid, key: "" }, orderId, (outcome: Outcome) => told.push(`${uid} ${outcome.code}`), 0),
  };
};

const event = (part: Partial<StatusEvent>): StatusEvent => ({ shard: 0, epoch: 2, applied: 0, orders: [], rejected: [], ...part });

describe("who waits", () => {
  it("is told by the event that names the order, and asked about at once if the event is beyond it without naming it", () => {
    const { waiting, asked, told, wait } = waitingRoom();
    wait("a", "0-2-1-0");
    wait("b", "0-2-2-0");
    wait("c", "0-2-3-0");
    waiting.onStatus(event({ applied: 2, orders: [[2, "s", "b"]] }));
    expect(told).toEqual(["b confirmed"]);
    expect(asked.map(({ uid }) => uid)).toEqual(["a"]);
  });

  it("is asked about at once when a newer epoch has begun, and not because of another shard or an older epoch", () => {
    const { waiting, asked, wait } = waitingRoom();
    wait("a", "0-1-7-0");
    wait("b", "1-1-7-0");
    wait("c", "0-3-1-0");
    waiting.onStatus(event({ applied: 9 }));
    expect(asked.map(({ uid }) => uid)).toEqual(["a"]);
  });

  it("is not told by an event that names somebody else at that place", () => {
    const { waiting, told, asked, wait } = waitingRoom();
    wait("a", "0-2-1-0");
    waiting.onStatus(event({ applied: 1, orders: [[1, "s", "b"]] }));
    waiting.onStatus(event({ applied: 1, orders: [[1, "other", "a"]] }));
    expect(told).toEqual([]);
    expect(asked).toHaveLength(1);
  });

  it("is asked about once a second, one question at a time, until it is final; unready answers change nothing", () => {
    const { waiting, asked, told, wait } = waitingRoom();
    wait("a", "0-2-1-0");
    waiting.tick(ASK_AGAIN_MS - 1);
    expect(asked).toHaveLength(0);
    waiting.tick(ASK_AGAIN_MS);
    waiting.tick(2 * ASK_AGAIN_MS);
    expect(asked).toHaveLength(1);
    asked[0]?.answer({ code: "recovering" });
    waiting.tick(3 * ASK_AGAIN_MS);
    asked[1]?.answer({ code: "reserved", orderId: "0-2-1-0", units: 1 });
    waiting.tick(4 * ASK_AGAIN_MS);
    expect(told).toEqual([]);
    asked[2]?.answer({ code: "rejected", orderId: "0-2-1-0", units: 1 });
    waiting.tick(5 * ASK_AGAIN_MS);
    expect(told).toEqual(["a rejected"]);
    expect(asked).toHaveLength(3);
    expect(waiting.count).toBe(0);
  });

  it("who comes when the position is known to be beyond is asked about at once, and once more if Redis is not settled yet", () => {
    const { waiting, asked, told, wait } = waitingRoom();
    waiting.onStatus(event({ applied: 2, orders: [[2, "s", "a"]] }));
    wait("a", "0-2-2-0");
    wait("b", "0-1-9-0");
    wait("c", "0-2-3-0");
    wait("d", "1-2-1-0");
    expect(asked.map(({ uid }) => uid)).toEqual(["a", "b"]);
    asked[0]?.answer({ code: "reserved", orderId: "0-2-2-0", units: 1 });
    waiting.tick(1);
    expect(asked.map(({ uid }) => uid)).toEqual(["a", "b", "a"]);
    asked[2]?.answer({ code: "reserved", orderId: "0-2-2-0", units: 1 });
    waiting.tick(2);
    expect(asked).toHaveLength(3);
    // an event that says less, or comes again, takes nothing back
    waiting.onStatus(event({ applied: 1 }));
    waiting.onStatus(event({ epoch: 1, applied: 99 }));
    wait("e", "0-2-2-1");
    asked[3]?.answer({ code: "confirmed", orderId: "0-2-2-1", units: 1 });
    expect(told).toEqual(["e confirmed"]);
  });

  it("is listened for from when the purchase goes out", () => {
    const { waiting, wait } = waitingRoom();
    expect(waiting.isListening).toBe(false);
    const isHere = waiting.expect();
    expect(waiting.isListening).toBe(true);
    const cancel = wait("a", "0-2-1-0");
    isHere();
    expect(waiting.isListening).toBe(true);
    cancel();
    expect(waiting.isListening).toBe(false);
  });

  it("follows the buyer to a new reservation when the first was lost", () => {
    const { waiting, asked, told, wait } = waitingRoom();
    wait("a", "0-1-5-0");
    waiting.tick(ASK_AGAIN_MS);
    asked[0]?.answer({ code: "reserved", orderId: "0-2-4-1", units: 1 });
    waiting.onStatus(event({ applied: 4, orders: [[4, "s", "z a"]] }));
    expect(told).toEqual(["a confirmed"]);
  });

  it("is bounded: beyond the bound `reserved` at once, with room again when the ended ones are swept", () => {
    const { waiting, told, wait } = waitingRoom(2);
    const cancel = wait("a", "0-2-1-0");
    wait("b", "0-2-1-1");
    wait("c", "0-2-1-2");
    expect(told).toEqual(["c reserved"]);
    cancel();
    waiting.tick(ASK_AGAIN_MS);
    wait("d", "0-2-1-3");
    expect(told).toEqual(["c reserved"]);
    waiting.release();
    expect(told.sort()).toEqual(["b reserved", "c reserved", "d reserved"]);
  });
});
