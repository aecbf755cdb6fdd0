import { describe, expect, it } from "vitest";
import { ConfigError, readConfig } from "./config.ts";
import { clusterAddress, sentinelAddress, shardUrls, withoutCredentials } from "./redis-address.ts";

const shards = (text: string): readonly string[] => readConfig(["REDIS_SHARDS"], { REDIS_SHARDS: text }).REDIS_SHARDS;

describe("REDIS_SHARDS", () => {
  it("names one URL a shard: instances, the same one again, or several times at once", () => {
    expect(shards("redis://a:1, redis://b:2")).toEqual(["redis://a:1", "redis://b:2"]);
    expect(shards("redis://a:1,redis://a:1")).toEqual(["redis://a:1", "redis://a:1"]);
    expect(shards("redis://a:1*3,rediss://b:2")).toEqual(["redis://a:1", "redis://a:1", "redis://a:1", "rediss://b:2"]);
  });

  it("names a cluster by some of its nodes", () => {
    const [url = "", ...others] = shards("redis-cluster://me:p%40ss@a:7001;b;[::1]:7003*4");
    expect(others).toEqual([url, url, url]);
    expect(clusterAddress(url)).toEqual({
      seeds: [
        { host: "a", port: 7001 },
        { host: "b", port: 6379 },
        { host: "::1", port: 7003 },
      ],
      username: "me",
      password: "p@ss",
      tls: false,
    });
    expect(clusterAddress("rediss-cluster://a:1")).toMatchObject({ tls: true, username: undefined, password: undefined });
    expect(clusterAddress("redis://a:1")).toBeUndefined();
  });

  it("names a primary by its sentinels and their name for it", () => {
    const [url = "", ...others] = shards("redis-sentinel://me:p%40ss@a:26380;b;[::1]:3/my-primary?sentinelPassword=q%26a*2");
    expect(others).toEqual([url]);
    expect(sentinelAddress(url)).toEqual({
      sentinels: [
        { host: "a", port: 26_380 },
        { host: "b", port: 26_379 },
        { host: "::1", port: 3 },
      ],
      name: "my-primary",
      username: "me",
      password: "p@ss",
      sentinelUsername: undefined,
      sentinelPassword: "q&a",
      tls: false,
    });
    expect(sentinelAddress("rediss-sentinel://a/p")).toMatchObject({ tls: true, username: undefined, password: undefined });
    expect(withoutCredentials(url)).toBe("redis-sentinel://a:26380;b;[::1]:3/my-primary");
  });

  it.each([
    "redis-sentinel://a:1",
    "redis-sentinel://a:1/",
    "redis-sentinel://a:1;/p",
    "redis-sentinel://a:1/p?db=3",
    "http://a:1",
    "redis-cluster://",
    "redis-cluster://a:99999",
    "redis-cluster://a:1;",
    "redis-cluster://a b:1",
    "redis://a:1*0",
    "a:1",
  ])("refuses %s and says which shard it is", (wrong) => {
    expect(() => shards(`redis://a:1,${wrong}`)).toThrow(ConfigError);
    expect(() => shards(`redis://a:1,${wrong}`)).toThrow(/shard 1: not a redis:\/\//);
  });

  it("is logged without its credentials", () => {
    expect(withoutCredentials("redis-cluster://me:secret@a:1;b:2")).toBe("redis-cluster://a:1;b:2");
    expect(shardUrls("redis://a:1")).toEqual(["redis://a:1"]);
  });
});
