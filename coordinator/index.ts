export * from "./coordinator.ts";
export { AttemptResult } from "./shards/attempt/attempt.ts";
export { StreamConfigError } from "./shards/log/stream.ts";
