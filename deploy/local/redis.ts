import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Part } from "./part.ts";
import { onPort } from "./port.ts";
import { redisReady } from "./probe.ts";
import type { Run } from "./run.ts";

export interface RedisOptions {
  readonly name?: string;
  /** path of redis-server */
  readonly program: string;
  readonly appendfsync?: "always" | "everysec";
  readonly dir?: string;
  readonly port?: number;
}

export interface RedisPart {
  readonly part: Part;
  readonly url: string;
  readonly port: number;
  readonly dir: string;
}

const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 10_000;

/** A Redis with the settings that DESIGN 4.3 and 5 ask for. */
const redisPart = (run: Run, options: RedisOptions, port: number): RedisPart => {
  const name = options.name ?? "redis";
  const dir = options.dir ?? join(run.folder, `${name}-${port}`);
  const settings = {
    port,
    bind: "127.0.0.1",
    dir,
    appendonly: "yes",
    appendfsync: options.appendfsync ?? "always",
    "maxmemory-policy": "noeviction",
    save: "",
    // Otherwise the replication id changes on a healthy server when its last replica has been away (DESIGN 4.3).
    "repl-backlog-ttl": 0,
    daemonize: "no",
    // A process title would overwrite the environment, and with it the run's id.
    "set-proc-title": "no",
  };
  const part = new Part(run, {
    name,
    command: options.program,
    args: Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)]),
    prepare: async () => void (await mkdir(dir, { recursive: true, mode: 0o700 })),
    isReady: () => redisReady(port),
    readyWithinMs: READY_WITHIN_MS,
    stopSignal: "SIGTERM",
    stopWithinMs: STOP_WITHIN_MS,
  });
  return { part, url: `redis://127.0.0.1:${port}`, port, dir };
};

/** Starts a Redis and waits until it answers. */
export const startRedis = (run: Run, options: RedisOptions): Promise<RedisPart> =>
  onPort(options.port, async (port) => {
    const redis = redisPart(run, options, port);
    await redis.part.start();
    return redis;
  });
