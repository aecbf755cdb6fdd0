import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";

/** Compiled: `npm run build` first. */
const DOOR = new URL("../../dist/coordinator/program/index.js", import.meta.url).href;

/** A primary that kills its process and, before it can know of the death, sends it a message. */
const PROGRAM = `
import cluster from "node:cluster";
import { superviseCluster, tellReady } from ${JSON.stringify(DOOR)};
if (cluster.isWorker) { tellReady(); setInterval(() => undefined, 1_000); }
else {
  const stop = new AbortController(), hurry = new AbortController();
  const log = { error() {}, warn(facts) { console.log("heard of " + facts.err); } };
  let killed = false;
  await superviseCluster({ processes: 1, log, stop: stop.signal, hurry: hurry.signal, stopWithinMs: 5_000, onChange: ({ ready, restarts }) => {
    if (ready === 1 && restarts === 1) { console.log("replaced"); stop.abort(); }
    if (ready !== 1 || killed) return;
    killed = true;
    const [worker] = Object.values(cluster.workers);
    process.kill(worker.process.pid, "SIGKILL");
    // The death takes a moment to reach the socket, and this turn of the loop must not see it.
    const until = performance.now() + 200;
    while (performance.now() < until);
    worker.send("are you there?");
  } });
}
`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "cluster-test-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it("a message to a process that has just died does not end the primary", async () => {
  const file = join(folder, "program.mjs");
  await writeFile(file, PROGRAM);
  const child = spawn(process.execPath, [file], {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += String(text)));
  const code = await new Promise((resolve) => child.once("exit", resolve));
  expect(output).toContain("heard of");
  expect(output).toContain("replaced");
  expect(code).toBe(0);
}, 30_000);
