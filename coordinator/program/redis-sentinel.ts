import type { ConnectionOptions } from "node:tls";
import { Redis, type RedisOptions } from "ioredis";
import { askOptions, foundConnection } from "./found-connection.ts";
import type { RedisNode, SentinelAddress } from "./redis-address.ts";

/** A sentinel that does not say this soon who the primary is is passed over. */
const ASK_WITHIN_MS = 1_000;
/** A server that was cut off from its replicas may have been replaced: another look is worth it this often. */
const LOOK_MS = 1_000;

interface View {
  readonly primary: RedisNode;
  /** raised with every failover: the higher one is the later one */
  readonly configEpoch: number;
}

type Tls = ConnectionOptions | undefined;

const ask = async (sentinel: RedisNode, address: SentinelAddress, tls: Tls): Promise<View> => {
  const { name, sentinelUsername, sentinelPassword } = address;
  const redis = new Redis({
    ...sentinel,
    ...(sentinelUsername === undefined ? {} : { username: sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { password: sentinelPassword }),
    ...(tls === undefined ? {} : { tls }),
    ...askOptions(ASK_WITHIN_MS),
    connectionName: "primary",
  });
  let failure: unknown;
  redis.on("error", (error) => (failure = error));
  try {
    // its rejection says only that the connection is closed
    await redis.connect().catch((error: unknown) => Promise.reject(failure ?? error));
    const fields = (await redis.call("SENTINEL", "MASTER", name)) as readonly string[];
    const field = (key: string): string => fields[fields.indexOf(key) + 1] ?? "";
    return { primary: { host: field("ip"), port: Number(field("port")) }, configEpoch: Number(field("config-epoch")) };
  } finally {
    redis.disconnect();
  }
};

/**
 * The primary as the sentinel sees it that has heard of the latest failover: one that is cut off from the others names a
 * server that was replaced.
 * @throws if no sentinel answers, or none knows the name
 */
const primaryOf = async (address: SentinelAddress, tls: Tls): Promise<RedisNode> => {
  const asked = await Promise.allSettled(address.sentinels.map((sentinel) => ask(sentinel, address, tls)));
  const views = asked.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  const [latest] = views.toSorted((a, b) => b.configEpoch - a.configEpoch);
  if (latest !== undefined) return latest.primary;
  const [failed] = asked.flatMap((result) => (result.status === "rejected" ? [result.reason as Error] : []));
  throw new Error(`no sentinel says who is the primary of ${address.name}: ${failed?.message ?? "none is named"}`, { cause: failed });
};

/**
 * Options that make a plain ioredis connection lead to the primary that sentinels agree on: asked for at every (re)connection,
 * and a server that says it is a replica makes a new one.
 * @param tls to sentinels and servers; undefined: without
 * @param silentMs after so long without an answer a connection is made anew: a server that stands still may have been replaced
 */
export const sentinelConnection = (address: SentinelAddress, tls: Tls, silentMs: number): Omit<RedisOptions, "replyMapping"> => {
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  return {
    ...foundConnection({ ...address, tls, find: () => primaryOf(address, tls), isRole: (role) => role === "master" }),
    ...(silentMs > 0 ? { socketTimeout: silentMs } : {}),
    reconnectOnError: ({ message }) => {
      if (message.startsWith("READONLY")) return true;
      // its replicas are gone: perhaps it is this server that is cut off
      if (!message.startsWith("NOREPLICAS")) return false;
      const isDue = performance.now() - lookedAtMs > LOOK_MS;
      if (isDue) lookedAtMs = performance.now();
      return isDue;
    },
  };
};
