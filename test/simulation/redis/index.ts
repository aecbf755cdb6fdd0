/**
 * What the scripts of `lua/` mean, as plain functions on plain data: one model for the simulation and for the tests
 * that run the scripts themselves against it.
 */
export * from "./data.ts";
export { Journal } from "./journal.ts";
export { latch } from "./latch.ts";
export * from "./life.ts";
export * from "./rebuild.ts";
export * from "./reserve.ts";
export * from "./stock.ts";
