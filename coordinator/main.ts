import { COORDINATOR_SETTINGS, runCoordinator } from "./coordinator.ts";
import { runProgram } from "./program/program.ts";

await runProgram("coordinator", COORDINATOR_SETTINGS, async ({ config, log, stop, points }) => {
  await runCoordinator({ config, log, stop, points, listening: (url) => log.info({ url }, "coordinator is up") });
  log.info("coordinator has stopped");
});
