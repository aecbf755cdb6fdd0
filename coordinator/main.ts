import cluster from "node:cluster";
import { COORDINATOR_SETTINGS, runCoordinator } from "./coordinator.ts";
import { guardProcess } from "#program/guard";
import { runProgram } from "#program/program";

await runProgram("coordinator", COORDINATOR_SETTINGS, async ({ config, log, stop, points, violations }) => {
  if (cluster.isPrimary) return await guardProcess({ log, stop });
  const listening = (url: string): void => log.info({ url }, "coordinator is up");
  await runCoordinator({ config, log, stop, points, listening, violations: violations() });
  log.info("coordinator has stopped");
  // The channel to the primary would keep the process alive.
  process.disconnect();
});
