import cluster from "node:cluster";
import { COORDINATOR_SETTINGS, runCoordinator, type CoordinatorAddresses } from "./coordinator.ts";
import { guardProcess } from "#program/guard";
import { runProgram } from "#program/program";

await runProgram("coordinator", COORDINATOR_SETTINGS, async ({ config, log, stop, points, follow, violations }) => {
  if (cluster.isPrimary) return await guardProcess({ log, stop });
  const listening = (addresses: CoordinatorAddresses): void => log.info(addresses, "coordinator is up");
  let tokens = config.DOORBUSTER_COORDINATOR_TOKEN;
  follow("DOORBUSTER_COORDINATOR_TOKEN", (renewed) => (tokens = renewed));
  await runCoordinator({ config, log, stop, points, listening, tokens: () => tokens ?? [], violations: violations() });
  log.info("coordinator has stopped");
  // The channel to the primary would keep the process alive.
  process.disconnect();
});
