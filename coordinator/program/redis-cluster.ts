import type { ConnectionOptions } from "node:tls";
import { Redis, type RedisOptions } from "ioredis";
import { askOptions, foundConnection } from "./found-connection.ts";
import type { ClusterAddress, RedisNode } from "./redis-address.ts";

/** A node that does not say this soon who holds a slot is passed over. */
const ASK_WITHIN_MS = 1_000;
/** While the whole cluster is down, another look for the slot is worth it this often. */
const DOWN_LOOK_MS = 1_000;

/** CLUSTER SLOTS: [first slot, last slot, [endpoint, port, ...] of the primary, those of the replicas ...] a range. */
type SlotRange = readonly [number, number, ...(readonly [string | null, number, ...unknown[]])[]];

interface View {
  /** the node that holds the slot, as the asked node sees it */
  readonly owner: RedisNode | undefined;
  /** the asked node reaches the majority of the cluster */
  readonly isOk: boolean;
  readonly nodes: readonly RedisNode[];
}

const keyOf = ({ host, port }: RedisNode): string => `${host}:${port}`;

/** A cluster of which some nodes are known. Asks for a slot's primary whenever a connection is made: that is rare. */
class ClusterMap {
  readonly #address: ClusterAddress;
  readonly #tls: ConnectionOptions | undefined;
  #known: readonly RedisNode[];

  constructor(address: ClusterAddress, tls: ConnectionOptions | undefined) {
    this.#address = address;
    this.#tls = tls;
    this.#known = address.seeds;
  }

  /** @throws if no node says who holds the slot of this key */
  async ownerOf(key: string): Promise<RedisNode> {
    let second: RedisNode | undefined;
    let cause: unknown;
    for (const [turn, node] of this.#known.entries()) {
      try {
        const { owner, isOk, nodes } = await this.#ask(node, key);
        // the next look begins elsewhere: this node may be the one that is cut off
        this.#learn(nodes, turn + 1);
        // a node on the lesser side of a partition names an owner that was replaced
        if (owner !== undefined && isOk) return owner;
        second ??= owner;
      } catch (error) {
        cause = error;
      }
    }
    if (second !== undefined) return second;
    throw new Error(`no node of the cluster says who holds ${key}`, { cause });
  }

  #learn(nodes: readonly RedisNode[], turn: number): void {
    const all = [...new Map([...this.#address.seeds, ...nodes].map((node) => [keyOf(node), node])).values()];
    const from = turn % all.length;
    this.#known = [...all.slice(from), ...all.slice(0, from)];
  }

  async #ask(node: RedisNode, key: string): Promise<View> {
    const { username, password } = this.#address;
    const redis = new Redis({
      ...node,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(this.#tls === undefined ? {} : { tls: this.#tls }),
      ...askOptions(ASK_WITHIN_MS),
      connectionName: "slots",
    });
    redis.on("error", () => undefined);
    try {
      await redis.connect();
      const [slot, info, ranges] = await Promise.all([
        redis.call("CLUSTER", "KEYSLOT", key) as Promise<number>,
        redis.call("CLUSTER", "INFO") as Promise<string>,
        redis.call("CLUSTER", "SLOTS") as Promise<readonly SlotRange[]>,
      ]);
      // an empty endpoint is that of the node that was asked
      const place = ([host, port]: readonly [string | null, number, ...unknown[]]): RedisNode => ({
        host: host === null || host === "" || host === "?" ? node.host : host,
        port,
      });
      const range = ranges.find(([first, last]) => first <= slot && slot <= last);
      return {
        owner: range?.[2] === undefined ? undefined : place(range[2]),
        isOk: info.includes("cluster_state:ok"),
        nodes: ranges.flatMap(([, , ...places]) => places.map((each) => place(each))),
      };
    } finally {
      redis.disconnect();
    }
  }
}

/**
 * Options that make a plain ioredis connection lead to the node that holds one slot: it is looked for at every
 * (re)connection, and MOVED makes a new one. All keys of a shard share a slot, so a shard needs no more than one node.
 */
export const slotConnection = (
  address: ClusterAddress,
  tls: ConnectionOptions | undefined,
  key: string,
): Omit<RedisOptions, "replyMapping"> => {
  const map = new ClusterMap(address, tls);
  let downAtMs = Number.NEGATIVE_INFINITY;
  return {
    ...foundConnection({ ...address, tls, find: () => map.ownerOf(key) }),
    reconnectOnError: ({ message }) => {
      if (message.startsWith("MOVED ")) return true;
      if (!message.startsWith("CLUSTERDOWN")) return false;
      // this node may be cut off while another took the slot over
      const isDue = performance.now() - downAtMs > DOWN_LOOK_MS;
      if (isDue) downAtMs = performance.now();
      return isDue;
    },
  };
};
