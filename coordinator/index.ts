export * from "./coordinator.ts";
export { AttemptResult } from "./shards/attempt.ts";
export { StreamConfigError } from "./log/stream.ts";
