import { pino } from "pino";
import { expect, it } from "vitest";
import { sayWaiting } from "./waiting.ts";

it("says after a moment what is waited for and why, now and then again, and when it is over", () => {
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => lines.push((JSON.parse(line) as { msg: string }).msg) });
  let nowMs = 0;
  const waiting = sayWaiting(log, { monotonicMs: () => nowMs }, "NATS at 10.0.0.1:4222");
  for (; nowMs <= 40_000; nowMs += 250) waiting.failed(new AggregateError([new Error("refused"), new Error("no route")], ""));
  expect(lines).toEqual(Array.from({ length: 2 }, () => "waiting for NATS at 10.0.0.1:4222: refused, no route"));
  waiting.over();
  waiting.over();
  waiting.failed(new Error("again"));
  expect(lines.slice(2)).toEqual(["NATS at 10.0.0.1:4222 is there"]);
});
