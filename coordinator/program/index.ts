export * from "./cluster.ts";
export * from "./config.ts";
export * from "./connect.ts";
export * from "./crash-points.ts";
export * from "./log.ts";
export * from "./program.ts";
export * from "./settings.ts";
export * from "./system.ts";
