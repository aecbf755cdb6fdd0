import { Redis } from "ioredis";
import { until } from "../../deploy/local/index.ts";
import { startRedis, type RedisServer } from "./servers.ts";

const SLOTS = 16_384;
const SETTLE_WITHIN_MS = 30_000;
const MIGRATE_WITHIN_MS = 5_000;
const KEYS_A_MOVE = 100;

/** A Redis Cluster of real servers, each a primary of its share of the slots. */
export interface RedisCluster {
  readonly nodes: readonly RedisServer[];
  /** as an item of REDIS_SHARDS */
  readonly url: string;
  /** the node that holds the key's slot, as the first node that answers sees it */
  ownerOf(key: string): Promise<number>;
  /** moves the key's slot with all its keys to another node, as redis-cli does */
  moveSlot(key: string, to: number): Promise<void>;
  /** every node sees every other one */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/** A short connection; `undefined` if the node does not answer. */
const on = async <T>(node: RedisServer, ask: (redis: Redis) => Promise<T>): Promise<T> => {
  const redis = new Redis(node.url, { lazyConnect: true, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  redis.on("error", () => undefined);
  try {
    await redis.connect();
    return await ask(redis);
  } finally {
    redis.disconnect();
  }
};

const idOf = (node: RedisServer): Promise<string> => on(node, (redis) => redis.call("CLUSTER", "MYID") as Promise<string>);

type Range = readonly [number, number, readonly [string, number, ...unknown[]]];

const isSettled = async (nodes: readonly RedisServer[]): Promise<boolean> => {
  for (const node of nodes) {
    const info = await on(node, (redis) => redis.call("CLUSTER", "INFO") as Promise<string>).catch(() => "");
    if (!info.includes("cluster_state:ok") || !info.includes(`cluster_known_nodes:${nodes.length}`)) return false;
    const list = await on(node, (redis) => redis.call("CLUSTER", "NODES") as Promise<string>).catch(() => "fail");
    if (/fail|handshake|disconnected/.test(list)) return false;
  }
  return true;
};

export const startRedisCluster = async (size = 3): Promise<RedisCluster> => {
  const nodes = await Promise.all(Array.from({ length: size }, () => startRedis({ cluster: true })));
  const first = nodes[0] as RedisServer;
  for (const [n, node] of nodes.entries()) {
    const from = Math.floor((n * SLOTS) / size);
    const to = Math.floor(((n + 1) * SLOTS) / size) - 1;
    await on(node, async (redis) => {
      // before they meet: two nodes with one configuration epoch would have to settle it between them
      await redis.call("CLUSTER", "SET-CONFIG-EPOCH", n + 1);
      await redis.call("CLUSTER", "ADDSLOTSRANGE", from, to);
    });
  }
  await on(first, async (redis) => {
    for (const node of nodes.slice(1)) await redis.call("CLUSTER", "MEET", "127.0.0.1", node.port, node.busPort as number);
  });
  const settled = (): Promise<void> => until(() => isSettled(nodes), "the cluster to settle", SETTLE_WITHIN_MS);
  await settled();

  const slotOf = (key: string): Promise<number> => on(first, (redis) => redis.call("CLUSTER", "KEYSLOT", key) as Promise<number>);
  const ownerOf = async (key: string): Promise<number> => {
    const slot = await slotOf(key);
    const ranges = await on(first, (redis) => redis.call("CLUSTER", "SLOTS") as Promise<readonly Range[]>);
    const port = ranges.find(([low, high]) => low <= slot && slot <= high)?.[2][1];
    return nodes.findIndex((node) => node.port === port);
  };
  return {
    nodes,
    url: `redis-cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(";")}`,
    ownerOf,
    moveSlot: async (key, to) => {
      const slot = await slotOf(key);
      const source = nodes[await ownerOf(key)] as RedisServer;
      const target = nodes[to] as RedisServer;
      const [sourceId, targetId] = [await idOf(source), await idOf(target)];
      await on(target, (redis) => redis.call("CLUSTER", "SETSLOT", slot, "IMPORTING", sourceId));
      await on(source, async (redis) => {
        await redis.call("CLUSTER", "SETSLOT", slot, "MIGRATING", targetId);
        for (;;) {
          const keys = (await redis.call("CLUSTER", "GETKEYSINSLOT", slot, KEYS_A_MOVE)) as string[];
          if (keys.length === 0) return;
          await redis.call("MIGRATE", "127.0.0.1", target.port, "", 0, MIGRATE_WITHIN_MS, "KEYS", ...keys);
        }
      });
      for (const node of [target, source, ...nodes.filter((node) => node !== target && node !== source)])
        await on(node, (redis) => redis.call("CLUSTER", "SETSLOT", slot, "NODE", targetId));
    },
    settled,
    stop: async () => {
      await Promise.all(nodes.map((node) => node.stop()));
    },
  };
};
