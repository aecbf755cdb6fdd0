export * from "./barrier.ts";
export * from "./coordinator.ts";
export * from "./message.ts";
export * from "./sql-barrier.ts";
