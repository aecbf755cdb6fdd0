import { describe, expect, it } from "vitest";
import type { PurchaseOrder } from "#protocol/requests/purchase-orders";
import { OrderStates, type OrderView } from "./order-states.ts";

interface Call {
  readonly saleId: string;
  readonly uids: readonly string[];
  /** null: nobody answers */
  answer(states: readonly (PurchaseOrder["state"] | "none")[] | null): Promise<void>;
}

const idOf = (uid: string): string => `0-1-1-${Number(uid.slice(1)).toString(36)}`;

/** Workers by hand: what they are asked stays in `calls` until the test answers it. */
const room = () => {
  const calls: Call[] = [];
  let nowMs = 0;
  let turns: (() => void)[] = [];
  const faults: unknown[] = [];
  const states = new OrderStates({
    clock: { monotonicMs: () => nowMs },
    turn: { atEnd: (flush) => void turns.push(flush) },
    store: {
      ofPurchases: (saleId, purchases) =>
        new Promise((resolve, reject) => {
          const uids = purchases.map(({ uid }) => uid);
          const answer: Call["answer"] = async (told) => {
            if (told === null) reject(new Error("nobody answers"));
            else
              resolve(
                told.map((state, at) =>
                  state === "none" ? null : { orderId: idOf(uids[at] as string), units: 1, state, payByMs: null, reason: null },
                ),
              );
            await new Promise((settled) => void setImmediate(settled));
          };
          calls.push({ saleId, uids, answer });
        }),
    },
    onFault: (error) => faults.push(error),
  });
  const heard: string[] = [];
  return {
    states,
    calls,
    heard,
    faults,
    read: (uid: string, saleId = "s") =>
      states.read(saleId, { uid, key: "" }, idOf(uid), (order: OrderView | undefined) => heard.push(`${uid} ${order?.state}`)),
    endTurn: () => {
      const ending = turns;
      turns = [];
      for (const flush of ending) flush();
    },
    later: (ms: number) => (nowMs += ms),
  };
};

describe("the states of orders", () => {
  it("are asked for once a purchase however many want to know, those of a turn together, and believed for a second", async () => {
    const { calls, heard, read, endTurn, later } = room();
    for (const uid of ["b1", "b2", "b1", "b1"]) read(uid);
    endTurn();
    for (let n = 0; n < 1_000; n += 1) read("b1");
    endTurn();
    expect(calls.map(({ uids }) => uids)).toEqual([["b1", "b2"]]);
    await calls[0]?.answer(["paid", "expired"]);
    expect(heard.filter((one) => one === "b1 paid")).toHaveLength(1_003);
    later(999);
    read("b2");
    expect(heard.at(-1)).toBe("b2 expired");
    endTurn();
    expect(calls).toHaveLength(1);
    later(1);
    read("b2");
    endTurn();
    expect(calls).toHaveLength(2);
  });

  it("are forgotten when they changed, and asked for again if they changed while an answer was on its way", async () => {
    const { states, calls, heard, read, endTurn } = room();
    expect(states.isEmpty).toBe(true);
    read("b1");
    endTurn();
    states.onChanged([idOf("b1"), "0-9-9-9"]);
    // what was asked before the change tells nobody, also not who asked before it
    await calls[0]?.answer(["pending_payment"]);
    expect(heard).toEqual([]);
    endTurn();
    await calls[1]?.answer(["paid"]);
    expect(heard).toEqual(["b1 paid"]);
    expect(states.isEmpty).toBe(false);
    states.onChanged([idOf("b1")]);
    read("b1");
    endTurn();
    await calls[2]?.answer(["refunded"]);
    expect(heard.at(-1)).toBe("b1 refunded");
    expect(calls).toHaveLength(3);
  });

  it("are not known where there is none, where it is another order, or of a later version; nothing is believed then", async () => {
    const { calls, heard, read, states, endTurn } = room();
    read("b1");
    read("b2");
    states.read("s", { uid: "b3", key: "" }, "0-1-1-zz", (order) => heard.push(`b3 ${order?.state}`));
    endTurn();
    await calls[0]?.answer(["none", undefined, "paid"]);
    expect(heard).toEqual(["b1 undefined", "b2 undefined", "b3 undefined"]);
    expect(states.isEmpty).toBe(true);
  });

  it("are not waited for while nobody answers: who waits is told at once, and nobody is asked for a second", async () => {
    const { calls, heard, faults, read, endTurn, later } = room();
    read("b1");
    read("b2", "other");
    read("b3", "third");
    endTurn();
    // two requests at a time, a sale each
    expect(calls.map(({ saleId }) => saleId)).toEqual(["s", "other"]);
    await calls[0]?.answer(null);
    expect(heard).toEqual(["b1 undefined", "b3 undefined"]);
    expect(faults).toHaveLength(1);
    later(999);
    read("b4");
    expect(heard.at(-1)).toBe("b4 undefined");
    endTurn();
    expect(calls).toHaveLength(2);
    later(1);
    read("b4");
    endTurn();
    expect(calls).toHaveLength(3);
  });

  it("are asked for by 512 at most in one request, and for no more purchases than there is room for", async () => {
    const { calls, heard, read, endTurn } = room();
    for (let n = 0; n < 3_000; n += 1) read(`b${n}`);
    expect(heard).toHaveLength(3_000 - 2_048);
    endTurn();
    expect(calls.map(({ uids }) => uids.length)).toEqual([512, 512]);
    for (let at = 0; at < 4; at += 1) {
      await calls[at]?.answer((calls[at]?.uids ?? []).map(() => "paid"));
      endTurn();
    }
    expect(calls.map(({ uids }) => uids.length)).toEqual([512, 512, 512, 512]);
    expect(heard.filter((one) => one.endsWith(" paid"))).toHaveLength(2_048);
  });

  it("are believed of a bounded number of orders", async () => {
    const { calls, read, endTurn } = room();
    for (let from = 0; from < 20_512; from += 512) {
      for (let n = from; n < from + 512; n += 1) read(`b${n}`);
      endTurn();
      await calls.at(-1)?.answer(Array.from({ length: 512 }, () => "paid"));
    }
    const before = calls.length;
    read("b20000");
    endTurn();
    expect(calls).toHaveLength(before);
    read("b0");
    endTurn();
    expect(calls).toHaveLength(before + 1);
  });

  it("are given up when the process ends; an answer that comes then finds nobody", async () => {
    const { states, calls, heard, read, endTurn } = room();
    read("b1");
    endTurn();
    states.release();
    expect(heard).toEqual(["b1 undefined"]);
    await calls[0]?.answer(["paid"]);
    expect(heard).toHaveLength(1);
    expect(states.isEmpty).toBe(true);
  });
});
