export { until } from "../../deploy/local/index.ts";
export * from "./database.ts";
export * from "./fair.ts";
export * from "./fake-programs.ts";
export * from "./leftovers.ts";
export { environment } from "./run.ts";
export * from "./servers.ts";
export * from "./stack.ts";
