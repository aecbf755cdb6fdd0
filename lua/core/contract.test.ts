import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis, until, type RedisServer } from "../../test/harness/index.ts";
import { LONG_MS, openEmptyShard, redisClient } from "../../test/harness/open-shard.ts";
import * as scripts from "../index.ts";
import { saleKeys, stagedKeys } from "./keys.ts";
import type { ScriptRedis } from "./script.ts";

/** What every .lua file has to keep: its header, its flags, the common parts, and that it touches declared keys only. */
const folder = new URL("../", import.meta.url);
const paths = new Map(
  (readdirSync(folder, { recursive: true }) as string[])
    .filter((path) => path.endsWith(".lua"))
    .map((path) => [basename(path, ".lua"), path]),
);
const all = [...paths.keys()].toSorted();
/** Two-phase messages and their barriers (DESIGN 6) live by other keys and are no part of a shard's history. */
const names = all.filter((name) => !/^(?:message|barrier)-/.test(name));
const source = (name: string): string => readFileSync(new URL(paths.get(name) ?? name, folder), "utf8");
const read = (name: string): { flags: string; header: string; body: string } => {
  const match = /^#!lua(?: flags=([a-z,-]+))?\n--\[\[\n([\s\S]*?)\n\]\]\n([\s\S]*)$/.exec(source(name));
  if (match === null) throw new Error(`${name}.lua does not begin with #!lua and a header`);
  return { flags: match[1] ?? "", header: match[2] as string, body: match[3] as string };
};

const shard = 5;
const saleId = "sale-1";
const token = "token";
const attempt = "attempt-1";
const lease = { shard, token, leaseMs: LONG_MS };
const definition = { version: 1, state: "open", limit: 2, opensAtMs: 0, closesAtMs: Number.MAX_SAFE_INTEGER } as const;

/** One call of each binding, in an order in which all of them do their work. */
const life = (replicationId: string): Record<string, (redis: ScriptRedis) => Promise<unknown>> => {
  const attempted = { shard, attempt, replicationId };
  return {
    lease: (redis) => scripts.acquireLease(redis, lease),
    close: (redis) => scripts.closeShard(redis, { shard, token, attempt }),
    keep: (redis) => scripts.keepShard(redis, { ...attempted, fromEpoch: 1, upto: "1-0", toEpoch: 2 }),
    swap: (redis) =>
      scripts.swapShard(redis, { ...attempted, toEpoch: 3, sales: [{ saleId: "staged", buyers: 1, grants: 1 }], dropped: ["gone"] }),
    open: (redis) => scripts.openShard(redis, { ...attempted, token, epoch: 3, untilMs: Date.now() + LONG_MS }),
    renew: (redis) => scripts.renewShard(redis, { ...lease, untilMs: Date.now() + LONG_MS, epoch: 3, attempt }),
    "shard-state": (redis) => scripts.shardState(redis, { shard }),
    sale: (redis) => scripts.defineSale(redis, { shard, epoch: 3, saleId, ...definition }),
    grant: (redis) => scripts.grant(redis, { shard, epoch: 3, saleId, grantId: "opening", units: 5 }),
    reserve: (redis) => scripts.reserve(redis, { shard, saleId, outboxLimit: 9, purchases: ["ann", "bob:k:2", "ann"] }),
    standing: (redis) => scripts.standing(redis, { shard, saleId, purchases: [{ uid: "ann", key: "" }] }),
    stock: (redis) => scripts.stock(redis, { shard, saleId }),
    withdraw: (redis) => scripts.withdraw(redis, { shard, epoch: 3, saleId, units: 1, receiver: 2, moves: 1 }),
    settle: (redis) => scripts.settle(redis, { shard, epoch: 3, applied: 2 }),
    release: (redis) => scripts.releaseLease(redis, lease),
  };
};

/** Number of values of each group of a header's `KEYS[...]` or `ARGV[...]` lines; a group after "then" comes some times over. */
const groups = (header: string, kind: "KEYS" | "ARGV"): { names: string[]; counted: boolean }[] => {
  const found: { names: string[]; counted: boolean }[] = [];
  for (const line of header.split("\n")) {
    const match = new RegExp(`^\\s+${kind}\\[(\\+?)(\\d+)\\]\\s+(.*)$`).exec(line);
    if (match === null) continue;
    if (match[2] === "1") found.push({ names: [], counted: match[1] === "+" });
    const group = found.at(-1);
    expect(group?.names.length, line).toBe(Number(match[2]) - 1);
    group?.names.push(match[3] as string);
  }
  return found;
};

/** How often the groups that come some times over do so in `life`. */
const TIMES: Record<string, { KEYS: number[]; ARGV: number[] }> = {
  swap: { KEYS: [1, 1], ARGV: [1, 1] },
  standing: { KEYS: [], ARGV: [1] },
};

const expand = (name: string, kind: "KEYS" | "ARGV"): string[] => {
  const times = [...(TIMES[name]?.[kind] ?? [])];
  return groups(read(name).header, kind).flatMap(({ names, counted }) =>
    Array.from({ length: counted ? (times.shift() ?? 0) : 1 }, () => names).flat(),
  );
};

interface Sent {
  readonly keys: string[];
  readonly args: string[];
}

let server: RedisServer;
let redis: Redis;
const sent = new Map<string, Sent>();
const touched = new Map<string, Set<string>>();

/** Positions of the keys among the arguments of what the scripts call. */
const keysOf = (command: readonly string[]): readonly string[] => {
  const [name = "", ...args] = command;
  switch (name.toLowerCase()) {
    case "info":
    case "time":
      return [];
    case "mget":
    case "del":
    case "unlink":
    case "exists":
      return args;
    case "rename":
      return args.slice(0, 2);
    case "xinfo":
      return args.slice(1, 2);
    default:
      return args.slice(0, 1);
  }
};

beforeAll(async () => {
  server = await startRedis();
  redis = await redisClient(server.url);
  const { replicationId } = await openEmptyShard(redis, shard);
  const staged = stagedKeys(shard, attempt, "staged");
  await redis.hset(staged.sale, { version: 1, state: "open", left: 1, limit: 1, opens_at: 0, closes_at: 1, moves: 1, moved_at: "3-0" });
  await redis.hset(staged.buyers, "old", "1-1-0-1");
  await redis.sadd(staged.grants, "opening");
  const monitor = await redis.duplicate().monitor();
  let running: string | undefined;
  let seen = 0;
  monitor.on("monitor", (_time: string, command: string[], source: string) => {
    if (command[0] === "echo") seen++;
    if (source === "lua") for (const key of keysOf(command)) touched.get(running ?? "")?.add(key);
  });
  const recorder = (name: string): ScriptRedis => ({
    eval: redis.eval.bind(redis),
    evalsha: ((sha: string, count: number, ...rest: (string | number)[]) => {
      sent.set(name, { keys: rest.slice(0, count).map(String), args: rest.slice(count).map(String) });
      return redis.evalsha(sha, count, ...rest);
    }) as ScriptRedis["evalsha"],
  });
  let echoes = 0;
  for (const [name, call] of Object.entries(life(replicationId))) {
    running = name;
    touched.set(name, new Set());
    const answer = (await call(recorder(name))) as { status?: string };
    if (name !== "shard-state" && answer.status !== "ok") throw new Error(`${name}: ${JSON.stringify(answer)}`);
    await redis.echo(name);
    echoes++;
    await until(() => seen === echoes, `MONITOR to be past ${name}`);
  }
  monitor.disconnect();
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});

it("covers every script, and every script has a binding's call", () => {
  expect([...sent.keys()].toSorted()).toEqual(names);
});

it.each(all)("%s.lua has every part of a header", (name) => {
  for (const part of ["KEYS\\[\\+?\\d\\]", "RETURNS", "COST", "SLOT"]) expect(read(name).header).toMatch(new RegExp(`^  ${part}`, "m"));
});

describe.each(names)("%s.lua", (name) => {
  it("says what its keys are, in the order in which the binding sends them", () => {
    const { keys } = sent.get(name) as Sent;
    const spelled = expand(name, "KEYS").map((line) => line.split(/\s/)[0] as string);
    const id = (key: string): string => /:(?:sale|buyers|grants):(.+)$/.exec(key)?.[1] ?? "";
    expect(keys).toEqual(
      spelled.map((key, i) =>
        key
          .replace("{sN}", `{s${shard}}`)
          .replace("<attempt>", attempt)
          .replace("<id>", id(keys[i] as string)),
      ),
    );
  });

  it("says how many arguments it takes", () => {
    expect(expand(name, "ARGV")).toHaveLength((sent.get(name) as Sent).args.length);
  });

  it("touches only the keys that it was given", () => {
    const { keys } = sent.get(name) as Sent;
    const seen = [...(touched.get(name) as Set<string>)];
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.filter((key) => !keys.includes(key))).toEqual([]);
    expect(read(name).body).not.toMatch(/\{s|:(?:sale|buyers|grants|outbox|epoch|open|applied|lease|attempt)\b/);
  });

  it("keeps all its keys in the shard's slot", () => {
    for (const key of (sent.get(name) as Sent).keys) expect(key.startsWith(`{s${shard}}:`), key).toBe(true);
  });
});

describe("flags", () => {
  const READERS = new Set(["shard-state", "standing", "stock"]);
  const NEEDS_MEMORY = new Set(["grant", "reserve"]);
  it.each(names)("%s.lua has the right ones", (name) => {
    const right = READERS.has(name) ? "no-writes" : NEEDS_MEMORY.has(name) ? "" : "allow-oom";
    expect(read(name).flags).toBe(right);
  });
});

describe("common parts", () => {
  const PARTS = ["server", "latch", "settled", "empty-outbox", "last-id"];
  const part = (name: string, tag: string): string | undefined => new RegExp(`-- <${tag}>[\\s\\S]*?-- </${tag}>\n`).exec(source(name))?.[0];

  it.each(PARTS)("<%s> is the same text wherever it is", (tag) => {
    const texts = all.map((name) => part(name, tag)).filter((text) => text !== undefined);
    expect(texts.length).toBeGreaterThan(1);
    expect(new Set(texts).size).toBe(1);
  });

  it("the latch is in every script that appends, defines a sale, renews, settles or tells a buyer's standing, and is used", () => {
    const latched = names.filter((name) => part(name, "latch") !== undefined);
    expect(latched).toEqual(["grant", "renew", "reserve", "sale", "settle", "shard-state", "standing", "stock", "withdraw"]);
    for (const name of latched) expect(read(name).body.replace(part(name, "latch") as string, "")).toMatch(/\blatch\(KEYS\[/);
    for (const name of names) {
      const own = PARTS.reduce((text, tag) => text.replace(part(name, tag) ?? "", ""), read(name).body);
      if (/'XADD'/.test(own)) expect(latched).toContain(name);
    }
  });
});

it("one file spells the keys: staged and live ones differ", () => {
  expect(Object.values(stagedKeys(1, "a", "s"))).not.toEqual(Object.values(saleKeys(1, "s")));
});
