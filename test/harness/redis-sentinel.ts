import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { onPort, Part, redisReady, until, type Run } from "../../deploy/local/index.ts";
import { binaries, joinRun, leaveRun } from "./run.ts";
import { startRedis, type RedisServer } from "./servers.ts";

const NAME = "doorbuster";
const SENTINELS = 3;
/** Of three; the failover needs a majority. */
const QUORUM = 2;
/** Silence after which a sentinel takes a server for down. */
const DOWN_AFTER_MS = 500;
const READY_WITHIN_MS = 10_000;
const STOP_WITHIN_MS = 5_000;
const SETTLE_WITHIN_MS = 20_000;

/** A primary with a replica, and three sentinels that watch over them: all real processes. */
export interface SentinelWorld {
  readonly servers: readonly [RedisServer, RedisServer];
  /** as an item of REDIS_SHARDS */
  readonly url: string;
  /** number of the server that the sentinels name, as most of them see it */
  primary(): Promise<number>;
  /** what the server says it is: `master`, `slave`, or `away` */
  roleOf(server: number): Promise<string>;
  stop(): Promise<void>;
}

const asking = async <T>(port: number, ask: (redis: Redis) => Promise<T>): Promise<T> => {
  const redis = new Redis({
    port,
    host: "127.0.0.1",
    lazyConnect: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    commandTimeout: 1_000,
  });
  redis.on("error", () => undefined);
  try {
    await redis.connect();
    return await ask(redis);
  } finally {
    redis.disconnect();
  }
};

const sentinelPart = async (run: Run, program: string, port: number, primaryPort: number): Promise<Part> => {
  const dir = join(run.folder, `sentinel-${port}`);
  const settings = join(dir, "sentinel.conf");
  return new Part(run, {
    name: `sentinel-${port}`,
    command: program,
    args: [settings, "--sentinel"],
    // it writes what it learns into its configuration
    prepare: async () => {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      const lines = [
        `port ${port}`,
        "bind 127.0.0.1",
        `dir ${dir}`,
        "set-proc-title no",
        `sentinel monitor ${NAME} 127.0.0.1 ${primaryPort} ${QUORUM}`,
        `sentinel down-after-milliseconds ${NAME} ${DOWN_AFTER_MS}`,
        `sentinel failover-timeout ${NAME} 5000`,
      ];
      await writeFile(settings, `${lines.join("\n")}\n`, { mode: 0o600 });
    },
    isReady: () => redisReady(port),
    readyWithinMs: READY_WITHIN_MS,
    stopSignal: "SIGTERM",
    stopWithinMs: STOP_WITHIN_MS,
  });
};

/** Starts them, and resolves when the replica follows and every sentinel knows of the others and of it. */
export const startSentinels = async (): Promise<SentinelWorld> => {
  const servers = (await Promise.all([startRedis(), startRedis()])) as unknown as readonly [RedisServer, RedisServer];
  const [first, second] = servers;
  await asking(second.port, (redis) => redis.replicaof("127.0.0.1", first.port));
  const run = await joinRun();
  const { redis: program } = await binaries();
  const sentinels = await Promise.all(
    Array.from({ length: SENTINELS }, () =>
      onPort(undefined, async (port) => {
        const part = await sentinelPart(run, program, port, first.port);
        await part.start();
        return { part, port };
      }),
    ),
  );
  const fields = async (port: number): Promise<Map<string, string>> => {
    const list = (await asking(port, (redis) => redis.call("SENTINEL", "MASTER", NAME))) as readonly string[];
    return new Map(Array.from({ length: list.length / 2 }, (_, n) => [list[n * 2] as string, list[n * 2 + 1] as string]));
  };
  const isWhole = async (): Promise<boolean> => {
    const link = await asking(second.port, (redis) => redis.info("replication"));
    if (!link.includes("master_link_status:up")) return false;
    const seen = await Promise.all(sentinels.map(({ port }) => fields(port)));
    return seen.every((each) => each.get("num-slaves") === "1" && each.get("num-other-sentinels") === String(SENTINELS - 1));
  };
  await until(() => isWhole().catch(() => false), "the sentinels to know each other and the replica", SETTLE_WITHIN_MS);
  return {
    servers,
    url: `redis-sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(";")}/${NAME}`,
    primary: async () => {
      const seen = await Promise.all(sentinels.map(({ port }) => fields(port)));
      const ports = seen.map((each) => Number(each.get("port"))).toSorted((a, b) => a - b);
      return servers.findIndex(({ port }) => port === ports[1]);
    },
    roleOf: (server) =>
      asking((servers[server] as RedisServer).port, async (redis) => String(((await redis.role()) as readonly unknown[])[0])).catch(
        () => "away",
      ),
    stop: async () => {
      await Promise.all(sentinels.map(({ part }) => part.stop()));
      await leaveRun();
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
};
