import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Serves /readyz on `port`, ends on SIGTERM and when its standard input ends, as our programs do. */
const server = (port: string): string => `
import { createServer } from "node:http";
const server = createServer((request, response) => response.end("ready"));
server.listen(Number(${port}), "127.0.0.1");
const end = () => process.exit(0);
process.on("SIGTERM", end);
if (process.send === undefined) process.stdin.on("end", end).resume();
`;

const CLUSTER = `
import cluster from "node:cluster";
if (cluster.isPrimary) {
  cluster.fork();
  process.on("SIGTERM", () => process.exit(0));
  process.stdin.on("end", () => process.exit(0)).resume();
} else {
  await import("./process.js");
}
`;

const MIGRATE = `
console.log("migrated " + process.env.DATABASE_URL);
`;

export type FakeProgram = "gateway" | "coordinator" | "workers" | "migrate";

/**
 * A `dist` folder of programs that start and stop like ours and do nothing: what the launcher does is tested without
 * what it launches. A program named in `failing` writes a line and ends with code 3.
 */
export const fakePrograms = async (dist: string, failing: readonly FakeProgram[] = []): Promise<string> => {
  const sources: readonly (readonly [FakeProgram, string, string])[] = [
    ["gateway", "gateway/main.js", CLUSTER],
    ["gateway", "gateway/process.js", server("process.env.DOORBUSTER_GATEWAY_PORT")],
    ["coordinator", "coordinator/main.js", server("process.env.DOORBUSTER_COORDINATOR_PORT")],
    ["workers", "workers/main.js", server("process.env.DOORBUSTER_WORKERS_PORT")],
    ["migrate", "workers/migrate.js", MIGRATE],
  ];
  for (const folder of ["gateway", "coordinator", "workers"]) await mkdir(join(dist, folder), { recursive: true });
  await writeFile(join(dist, "package.json"), '{"type":"module"}');
  for (const [name, file, source] of sources) {
    await writeFile(join(dist, file), failing.includes(name) ? `console.log("${name} cannot work here"); process.exitCode = 3;` : source);
  }
  return dist;
};
