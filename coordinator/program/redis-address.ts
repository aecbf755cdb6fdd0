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

/** Sentinels that know which server is the primary of a name. User and password are the servers'. */
export interface SentinelAddress {
  readonly sentinels: readonly RedisNode[];
  /** of the primary, as `sentinel monitor` has it */
  readonly name: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: string | undefined;
  /** to sentinels and servers */
  readonly tls: boolean;
}

const DEFAULT_PORT = 6_379;
const SENTINEL_PORT = 26_379;
const SENTINEL = /^(rediss?)-sentinel:\/\/(?:([^:@/]*):([^@/]*)@)?([^@/?#]+)\/([A-Za-z0-9._-]+)(?:\?([^#]*))?$/;
const SENTINEL_PARAMETERS: ReadonlySet<string> = new Set(["sentinelUsername", "sentinelPassword"]);
const CLUSTER = /^(rediss?)-cluster:\/\/(?:([^:@/]*):([^@/]*)@)?([^@/?#]+)\/?$/;
const NODE = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/;
const TIMES = /\*([1-9]\d{0,2})$/;

const nodeOf = (text: string, defaultPort = DEFAULT_PORT): RedisNode | undefined => {
  const match = NODE.exec(text.trim());
  if (match === null) return undefined;
  const host = (match[1] as string).replaceAll(/[[\]]/g, "");
  const port = Number(match[2] ?? defaultPort);
  return port < 1 || port > 65_535 ? undefined : { host, port };
};

/** `;` separates; undefined if one of them is none */
const nodesOf = (hosts: string, defaultPort: number): readonly RedisNode[] | undefined => {
  const nodes = hosts.split(";").map((host) => nodeOf(host, defaultPort));
  return nodes.includes(undefined) ? undefined : (nodes as RedisNode[]);
};

/** A password with a bare percent sign is meant as it stands. */
const decoded = (text: string): string | undefined => {
  try {
    return text === "" ? undefined : decodeURIComponent(text);
  } catch {
    return text;
  }
};

/** @returns undefined if the URL is not `redis-cluster://[user:password@]host:port[;host:port ...]` (or `rediss-cluster`) */
export const clusterAddress = (url: string): ClusterAddress | undefined => {
  const match = CLUSTER.exec(url);
  if (match === null) return undefined;
  const [, scheme, username = "", password = "", hosts = ""] = match;
  const seeds = nodesOf(hosts, DEFAULT_PORT);
  if (seeds === undefined) return undefined;
  return { seeds, username: decoded(username), password: decoded(password), tls: scheme === "rediss" };
};

/**
 * @returns undefined if the URL is not `redis-sentinel://[user:password@]host:port[;host:port ...]/<name>`, perhaps with
 * `?sentinelUsername=...&sentinelPassword=...` (or `rediss-sentinel`)
 */
export const sentinelAddress = (url: string): SentinelAddress | undefined => {
  const match = SENTINEL.exec(url);
  if (match === null) return undefined;
  const [, scheme, username = "", password = "", hosts = "", name = "", query = ""] = match;
  const sentinels = nodesOf(hosts, SENTINEL_PORT);
  const parameters = new URLSearchParams(query);
  if (sentinels === undefined || [...parameters.keys()].some((key) => !SENTINEL_PARAMETERS.has(key))) return undefined;
  return {
    sentinels,
    name,
    username: decoded(username),
    password: decoded(password),
    sentinelUsername: parameters.get("sentinelUsername") ?? undefined,
    sentinelPassword: parameters.get("sentinelPassword") ?? undefined,
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
export const withoutCredentials = (url: string): string => url.replace(/:\/\/[^@/]*@/, "://").replace(/\?.*$/, "");

/** A shard's server for people: shards on the same instance have the same one, those of a cluster each their own. */
export const placeOf = (url: string, shard: number): string =>
  clusterAddress(url) === undefined ? withoutCredentials(url) : `shard ${shard} on ${withoutCredentials(url)}`;
