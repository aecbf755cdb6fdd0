import { readdir, readFile } from "node:fs/promises";
import { Writable } from "node:stream";
import { pino } from "pino";
import { Counter, Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { aboutOrder } from "./about-order.ts";
import { faultLog } from "./fault-log.ts";

const ROOT = new URL("../../", import.meta.url);

describe("a log line about an order", () => {
  it("has its id as `order` where what failed was about it, and no such field otherwise", async () => {
    const lines: Record<string, unknown>[] = [];
    const stream = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
        done();
      },
    });
    const counter = new Counter({ name: "faults", help: "faults", labelNames: ["where"] as const, registers: [new Registry()] });
    const faults = faultLog({ log: pino({}, stream), clock: { monotonicMs: () => 0 }, counter, onViolation: () => undefined });
    await aboutOrder("0-1-2-3", () => Promise.reject(new Error("away"))).catch(faults("orders"));
    await Promise.reject(new Error("away, too")).catch(faults("orders"));
    expect(await aboutOrder("0-1-2-3", () => Promise.resolve(1))).toBe(1);
    expect(lines.map(({ order, err }) => [order, (err as Error).message])).toEqual([
      ["0-1-2-3", "away"],
      [undefined, "away, too"],
    ]);
  });

  it("has no other name for it in any program", async () => {
    for (const folder of ["gateway", "coordinator", "workers"]) {
      const files = await readdir(new URL(`${folder}/`, ROOT), { recursive: true });
      for (const file of files.filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))) {
        const text = await readFile(new URL(`${folder}/${file}`, ROOT), "utf8");
        for (const [call] of text.matchAll(/\blog\.(?:debug|info|warn|error|fatal)\(\s*\{[^}]*\}/g))
          expect(call, file).not.toMatch(/\borderId\b(?!:\s*order)/);
      }
    }
  });
});
