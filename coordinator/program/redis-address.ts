/** A node of a Redis Cluster. */
export interface RedisNode {
  readonly host: string;
  readonly port: number;
}

/** Where the shards of a Redis Cluster are looked for: any node knows which node holds which slot. */
export interface ClusterAddress {
  readonly seeds: readonly RedisNode[];
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly tls: boolean;
}

const DEFAULT_PORT = 6_379;
const CLUSTER = /^(rediss?)-cluster:\/\/(?:([^:@/]*):([^@/]*)@)?([^@/?#]+)\/?$/;
const NODE = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/;
const TIMES = /\*([1-9]\d{0,2})$/;

const nodeOf = (text: string): RedisNode | undefined => {
  const match = NODE.exec(text.trim());
  if (match === null) return undefined;
  const host = (match[1] as string).replaceAll(/[[\]]/g, "");
  const port = Number(match[2] ?? DEFAULT_PORT);
  return port < 1 || port > 65_535 ? undefined : { host, port };
};

/** @returns undefined if the URL is not `redis-cluster://[user:password@]host:port[;host:port ...]` (or `rediss-cluster`) */
export const clusterAddress = (url: string): ClusterAddress | undefined => {
  const match = CLUSTER.exec(url);
  if (match === null) return undefined;
  const [, scheme, username = "", password = "", hosts = ""] = match;
  const seeds = hosts.split(";").map((host) => nodeOf(host));
  if (seeds.includes(undefined)) return undefined;
  return {
    seeds: seeds as RedisNode[],
    username: username === "" ? undefined : decodeURIComponent(username),
    password: password === "" ? undefined : decodeURIComponent(password),
    tls: scheme === "rediss",
  };
};

/** Whether the URL names one instance, `redis://` or `rediss://`. */
export const isInstanceUrl = (url: string): boolean => URL.canParse(url) && ["redis:", "rediss:"].includes(new URL(url).protocol);

/** One URL a shard: `,` separates, `URL*8` is short for the same URL eight times. */
export const shardUrls = (text: string): string[] =>
  text.split(",").flatMap((item) => {
    const url = item.trim();
    const times = TIMES.exec(url);
    return times === null ? [url] : Array.from({ length: Number(times[1]) }, () => url.slice(0, times.index));
  });

/** The URL without its credentials, for logs. */
export const withoutCredentials = (url: string): string => url.replace(/:\/\/[^@/]*@/, "://");
