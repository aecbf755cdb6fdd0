import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startRedis, until, type RedisServer } from "../../test/harness/index.ts";
import { LONG_MS, openEmptyShard, redisClient } from "../../test/harness/open-shard.ts";
import * as scripts from "../index.ts";
import { Decision } from "./codes.ts";
import { saleKeys, stagedKeys } from "./keys.ts";
import type { ScriptRedis } from "./script.ts";

/** What every .lua file has to keep: its header, its flags, its includes, its binding, and that it touches declared keys only. */
const folder = new URL("../", import.meta.url);
const files = (readdirSync(folder, { recursive: true }) as string[]).filter((path) => path.endsWith(".lua"));
const isIn = (room: string) => (path: string) => dirname(path) === room;
const includes = files.filter(isIn("include"));
const snapshots = files.filter(isIn("snapshots"));
const paths = new Map(
  files.filter((path) => !includes.includes(path) && !snapshots.includes(path)).map((path) => [basename(path, ".lua"), path]),
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

/** Said where a snapshot differs: what a review has to see is the script that a server gets. */
const UPDATE =
  "a composed script has changed: `npx vitest run lua/core/contract.test.ts -u` writes lua/snapshots; look at its diff, commit it";
const NEW = "lua/snapshots was not in step when this run began: look at what the run wrote, delete what no script composes, run again";

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
    keep: (redis) => scripts.keepShard(redis, { ...attempted, fromEpoch: 1, upto: "1-0", toEpoch: 2, archived: ["over"] }),
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
    archive: async (redis) => {
      await scripts.defineSale(redis, { shard, epoch: 3, saleId: "over", ...definition, state: "closed" });
      return scripts.archiveSale(redis, { shard, epoch: 3, saleId: "over" });
    },
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
  keep: { KEYS: [1], ARGV: [1] },
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

const includesOf = (name: string): string[] =>
  Array.from(source(name).matchAll(/^-- @include (\S+)$/gm), ([, include]) => include as string);

describe("includes", () => {
  it.each(includes)("%s says what it is for, and the keys it needs", (path) => {
    const text = readFileSync(new URL(path, folder), "utf8");
    expect(text).toMatch(
      /^--\[\[\n {2}[A-Z][\s\S]*?\n {2}KEYS {4}(?:none|\{sN\}:[a-z]+(?:, \{sN\}:[a-z]+)*)\n(?: {2}NEEDS {3}[a-z, -]+\n)?\]\]\nlocal /,
    );
    expect(text.replace(/^--\[\[[\s\S]*?\]\]/, "")).not.toMatch(/\{s|:(?:sale|buyers|grants|outbox|epoch|open|applied|lease|attempt)\b/);
  });

  it("each is in some script", () => {
    const used = new Set(all.flatMap(includesOf));
    expect(includes.map((path) => basename(path, ".lua")).toSorted()).toEqual([...used].toSorted());
  });

  it("the latch is in every script that appends, defines a sale, renews, settles or tells a buyer's standing, and is used", () => {
    const latched = names.filter((name) => includesOf(name).includes("latch"));
    expect(latched).toEqual(["archive", "grant", "renew", "reserve", "sale", "settle", "shard-state", "standing", "stock", "withdraw"]);
    for (const name of latched) expect(read(name).body).toMatch(/\blatch\(KEYS\[/);
    for (const name of names) if (/'XADD'/.test(read(name).body)) expect(latched).toContain(name);
  });

  it("decisions are the letters of codes.ts, under the same names", () => {
    const text = readFileSync(new URL("include/decisions.lua", folder), "utf8");
    const constants = Array.from(text.matchAll(/^local ([A-Z_]+) = '(.)'$/gm), ([, name, code]) => [name as string, code as string]);
    const named = Object.entries(Decision).map(([name, code]) => [name.replace(/[A-Z]/g, "_$&").toUpperCase(), code]);
    expect(constants).toEqual(named);
    expect(text.match(/^local /gm)).toHaveLength(named.length);
  });
});

describe("bindings", () => {
  const bound = new Map(
    Object.values(scripts)
      .filter((value): value is scripts.Script => typeof value === "object" && "sha" in value && "source" in value)
      .map((script) => [script.name, script]),
  );

  it("there is one of each script, and lua/index.ts exports it", () => {
    expect([...bound.keys()].toSorted()).toEqual(all);
  });

  it.each(all)("%s.lua is loaded by the file of its name beside it", (name) => {
    const beside = readFileSync(new URL((paths.get(name) as string).replace(/lua$/, "ts"), folder), "utf8");
    expect(beside).toContain(`Script = loadScript("${name}", import.meta.url);`);
    expect(beside.match(/loadScript\(/g)).toHaveLength(1);
  });

  it.each(all)("%s: its binding loads the composed script, which begins as its file does, and hashes as the server does", async (name) => {
    const { source: loaded, sha } = bound.get(name) as scripts.Script;
    const text = source(name);
    expect(loaded.startsWith(text.slice(0, text.indexOf("\n]]\n") + 4))).toBe(true);
    expect(loaded).not.toContain("@include");
    expect(await redis.script("LOAD", loaded)).toBe(sha);
    const hasIncludes = includesOf(name).length > 0;
    if (hasIncludes) await expect(loaded, UPDATE).toMatchFileSnapshot(fileURLToPath(new URL(`snapshots/${name}.lua`, folder)));
    else expect(loaded).toBe(text);
  });

  it("every composed script has its snapshot, and there is no other", () => {
    const composed = all.filter((name) => includesOf(name).length > 0);
    expect(snapshots.map((path) => basename(path, ".lua")).toSorted(), NEW).toEqual(composed);
  });
});

it("one file spells the keys: staged and live ones differ", () => {
  expect(Object.values(stagedKeys(1, "a", "s"))).not.toEqual(Object.values(saleKeys(1, "s")));
});
