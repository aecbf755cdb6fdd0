import { expect, it } from "vitest";
import { environment } from "../../test/harness/index.ts";
import { beginRun } from "./index.ts";
import { logReason } from "./log-reason.ts";
import { Part } from "./part.ts";

it("is the last complaint of a program, with its cause, and the last line of a server", () => {
  const lines = [
    { level: 30, msg: "gateway primary is up" },
    { level: 40, msg: "Redis does not answer", err: "connect ECONNREFUSED 127.0.0.1:1" },
    { level: 50, msg: "unexpected error", err: { message: "", aggregateErrors: [{ message: "refused" }, { message: "no route" }] } },
    { level: 40, msg: "better on Node 24" },
    { level: 30, msg: "next step" },
  ].map((line) => JSON.stringify(line));
  expect(logReason(lines.join("\n"))).toBe("unexpected error: refused, no route");
  expect(logReason(lines.slice(0, 2).join("\n"))).toBe("Redis does not answer: connect ECONNREFUSED 127.0.0.1:1");
  expect(logReason(lines[0] ?? "")).toBe("");
  expect(logReason("LOG: starting\nFATAL: could not bind\n")).toBe("FATAL: could not bind");
  expect(logReason("")).toBe("");
});

it("is what a start says after some seconds of a part that is not ready, once", async () => {
  const said: string[] = [];
  const run = await beginRun({ environment, say: (line) => said.push(line) });
  const complaint = JSON.stringify({ level: 40, msg: "waiting for Postgres at db/shop", reason: "no route" });
  const part = new Part(run, {
    name: "workers",
    command: process.execPath,
    args: ["-e", `console.log(${JSON.stringify(complaint)}); process.stdin.resume()`],
    isReady: async () => said.length > 0,
    readyWithinMs: 20_000,
    stopSignal: "SIGTERM",
    stopWithinMs: 5_000,
  });
  await part.start();
  expect(said).toEqual(["waiting for workers: waiting for Postgres at db/shop"]);
  await part.stop();
  await run.end();
});
