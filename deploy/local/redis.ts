import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Part } from "./part.ts";
import { freePort, onPort } from "./port.ts";
import { redisReady } from "./probe.ts";
import type { Run } from "./run.ts";

export interface RedisOptions {
  readonly name?: string;
  /** path of redis-server */
  readonly program: string;
  readonly appendfsync?: "always" | "everysec";
  readonly dir?: string;
  readonly port?: number;
  /** a node of a Redis Cluster, not yet in one; its second port is chosen with the first */
  readonly cluster?: boolean;
  /** DEBUG from this machine: tests change the replication id without a restart */
  readonly debug?: boolean;
}

export interface RedisPart {
  readonly part: Part;
  readonly url: string;
  readonly port: number;
  readonly dir: string;
  /** when it was last started again without the data that it had, on performance.now()'s clock; undefined if it never was */
  readonly emptiedAtMs: number | undefined;
  /** where the nodes of a cluster talk to each other; undefined outside a cluster */
  readonly busPort: number | undefined;
}

const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 10_000;

/** Shards whose slots are served go on while another node is away. */
const CLUSTER_SETTINGS = { "cluster-enabled": "yes", "cluster-node-timeout": 3_000, "cluster-require-full-coverage": "no" } as const;

/** A Redis with the settings that DESIGN 4.3 and 5 ask for. */
const redisPart = (run: Run, options: RedisOptions, port: number, busPort: number | undefined): RedisPart => {
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
    ...(options.debug === true ? { "enable-debug-command": "local" } : {}),
    ...(busPort === undefined ? {} : CLUSTER_SETTINGS),
    ...(busPort === undefined ? {} : { "cluster-port": busPort }),
  };
  let hasRun = false;
  let emptiedAtMs: number | undefined;
  const prepare = async (): Promise<void> => {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    if (hasRun && !existsSync(join(dir, "appendonlydir"))) {
      emptiedAtMs = performance.now();
      run.say(`${name} has lost its data and starts empty`);
    }
    hasRun = true;
  };
  const part = new Part(run, {
    name,
    command: options.program,
    args: Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)]),
    prepare,
    isReady: () => redisReady(port),
    readyWithinMs: READY_WITHIN_MS,
    stopSignal: "SIGTERM",
    stopWithinMs: STOP_WITHIN_MS,
  });
  return {
    part,
    url: `redis://127.0.0.1:${port}`,
    port,
    dir,
    busPort,
    get emptiedAtMs() {
      return emptiedAtMs;
    },
  };
};

/** Starts a Redis and waits until it answers. */
export const startRedis = (run: Run, options: RedisOptions): Promise<RedisPart> =>
  onPort(options.port, async (port) => {
    const redis = redisPart(run, options, port, options.cluster === true ? await freePort() : undefined);
    await redis.part.start();
    return redis;
  });
