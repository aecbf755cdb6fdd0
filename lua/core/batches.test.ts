import { describe, expect, it } from "vitest";
import { Batches } from "./batches.ts";

interface Call {
  readonly items: readonly number[];
  answer(): void;
  fail(error: Error): void;
}

/** Batches over calls that the test answers one by one. */
const held = (most: number): { batches: Batches<number, string>; calls: Call[] } => {
  const calls: Call[] = [];
  const send = (items: readonly number[]): Promise<readonly string[]> =>
    new Promise((resolve, reject) => calls.push({ items, answer: () => resolve(items.map((item) => `${item}!`)), fail: reject }));
  return { batches: new Batches(send, most), calls };
};
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const add = (batches: Batches<number, string>, from: number, to: number): Promise<string>[] =>
  Array.from({ length: to - from }, (_, i) => batches.add(from + i));

describe("batches", () => {
  it("send together what one turn brings, in order, and give each its answer", async () => {
    const { batches, calls } = held(10);
    const answers = Promise.all(add(batches, 0, 3));
    await turn();
    expect(calls.map(({ items }) => items)).toEqual([[0, 1, 2]]);
    calls[0]?.answer();
    expect(await answers).toEqual(["0!", "1!", "2!"]);
  });

  it("have one call on the wire; meanwhile the next batch grows, up to its bound", async () => {
    const { batches, calls } = held(4);
    const answers = [batches.add(0)];
    await turn();
    answers.push(...add(batches, 1, 9));
    await turn();
    expect(calls.map(({ items }) => items)).toEqual([[0]]);
    for (let i = 0; i < 3; i += 1) {
      calls[i]?.answer();
      await turn();
      await turn();
    }
    expect(calls.map(({ items }) => items)).toEqual([[0], [1, 2, 3, 4], [5, 6, 7, 8]]);
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 9 }, (_, i) => `${i}!`));
  });

  it("that one item spoils are sent again item by item: only that one fails", async () => {
    const { batches, calls } = held(10);
    const answers = Promise.allSettled(add(batches, 0, 3));
    await turn();
    calls[0]?.fail(new Error("WRONGTYPE Operation against a key"));
    for (let i = 1; i <= 3; i += 1) {
      await turn();
      if (i === 2) calls[i]?.fail(new Error("WRONGTYPE Operation against a key"));
      else calls[i]?.answer();
    }
    expect((await answers).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  it("that were not answered are not sent again: the outcome is unknown", async () => {
    const { batches, calls } = held(10);
    const answers = Promise.allSettled(add(batches, 0, 2));
    await turn();
    calls[0]?.fail(new Error("Connection is closed."));
    expect((await answers).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(calls).toHaveLength(1);
  });
});
