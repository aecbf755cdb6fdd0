import { Writable } from "node:stream";
import { pino } from "pino";
import { expect, it } from "vitest";
import { applyObserver } from "./apply-observer.ts";

it("logs each order that a constraint refused under its id, beside one alert for all", () => {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  const refusedNow = [0, 1].map((index) => ({ seq: 40, index, reason: "no unit left" }));
  const applied = {
    kind: "applied",
    entries: [],
    epoch: 2,
    applied: 40,
    orders: 0,
    wall: true,
    grantTwice: false,
    overdrawn: false,
  } as const;
  const observer = applyObserver(pino({}, stream), () => () => undefined);
  observer.done({ shard: 1, streamSeq: 9, body: new Uint8Array() }, { ...applied, refusedNow, rejected: refusedNow }, 5);
  expect(lines.map(({ alert, order, refused, reason }) => [alert, order, refused, reason])).toEqual([
    [true, undefined, 2, undefined],
    [undefined, "1-2-14-0", undefined, "no unit left"],
    [undefined, "1-2-14-1", undefined, "no unit left"],
  ]);
});
