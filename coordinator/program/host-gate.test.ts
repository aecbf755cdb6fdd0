import { describe, expect, it } from "vitest";
import { HostGate } from "./host-gate.ts";

const gateOf = (
  most: number,
  mostWaiting: number,
): { gate: HostGate; now: { ms: number }; ends: (() => void)[]; add: (host: string) => void } => {
  const now = { ms: 1_000 };
  const gate = new HostGate({ most, mostWaiting, nowMs: () => now.ms });
  const ends: (() => void)[] = [];
  const task = (): Promise<void> => new Promise((resolve) => ends.push(resolve));
  return { gate, now, ends, add: (host) => void gate.run(host, task) };
};
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("the gate of a host", () => {
  it("lets so many run, the next when one ends, and no host wait for another", async () => {
    const { ends, add } = gateOf(2, 10);
    for (let i = 0; i < 4; i += 1) add("slow");
    add("other");
    await turn();
    expect(ends).toHaveLength(3);
    ends[0]?.();
    await turn();
    expect(ends).toHaveLength(4);
  });

  it("says for how long it has been full; moments with little room do not count, half of it does", async () => {
    const { gate, now, ends, add } = gateOf(1, 4);
    for (let i = 0; i < 4; i += 1) add("host");
    await turn();
    expect(gate.fullForMs("host")).toBeUndefined();
    add("host");
    expect(gate.fullForMs("host")).toBe(0);
    now.ms += 700;
    expect([gate.fullForMs("host"), gate.fullForMs("other")]).toEqual([700, undefined]);
    ends[0]?.();
    await turn();
    expect(gate.fullForMs("host")).toBeUndefined();
    add("host");
    expect(gate.fullForMs("host")).toBe(700);
    for (let i = 1; i < 4; i += 1) {
      ends[i]?.();
      await turn();
    }
    for (let i = 0; i < 3; i += 1) add("host");
    expect(gate.fullForMs("host")).toBe(0);
  });
});
