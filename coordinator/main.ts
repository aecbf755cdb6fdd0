import { COORDINATOR_SETTINGS, runCoordinator } from "./coordinator.ts";
import { runProgram } from "./program/program.ts";

await runProgram("coordinator", COORDINATOR_SETTINGS, async ({ config, log, stop }) => {
  await runCoordinator({ config, log, stop, listening: (url) => log.info({ url }, "coordinator is up") });
  log.info("coordinator has stopped");
});
