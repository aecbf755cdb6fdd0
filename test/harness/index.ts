export { until } from "../../deploy/local/index.ts";
export * from "./database.ts";
export * from "./servers.ts";
