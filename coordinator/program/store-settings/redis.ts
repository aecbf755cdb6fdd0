import type { Redis } from "ioredis";
import { SettingVerdict, type SettingProblem } from "#program/setting-problems";
import { judgeSettings, settingsOf, type SettingRule } from "./rule.ts";

const evicts = (prefix: string) => (policy: string) => policy.startsWith(prefix);
const isNot =
  (...right: readonly string[]) =>
  (found: string) =>
    !right.includes(found);

/** What a shard's Redis has to be set to (DESIGN 4.3, 5). */
export const REDIS_RULES: readonly SettingRule[] = [
  {
    setting: "maxmemory-policy",
    wanted: "noeviction",
    wrong: "`allkeys-*`",
    isWrong: evicts("allkeys-"),
    verdict: SettingVerdict.refuse,
    promises: ["P1", "P2", "P3", "P4"],
    breaks: "at maxmemory it deletes stock, buyers and what is not yet in Postgres",
  },
  {
    setting: "maxmemory-policy",
    wanted: "noeviction",
    wrong: "`volatile-*`",
    isWrong: evicts("volatile-"),
    verdict: SettingVerdict.warn,
    promises: [],
    breaks: "at maxmemory it deletes the permission to sell, and finished messages and barriers whose repeats then run again",
  },
  {
    setting: "appendonly",
    wanted: "yes",
    wrong: "`no`",
    isWrong: isNot("yes"),
    verdict: SettingVerdict.warn,
    promises: ["P1"],
    breaks: "a restart loses every reservation that was not yet in Postgres, and all two-phase messages",
  },
  {
    setting: "appendfsync",
    wanted: "always",
    wrong: "`everysec`, `no`",
    isWrong: isNot("always"),
    verdict: SettingVerdict.warn,
    promises: ["P1"],
    breaks: "a crash loses the last reservations that were answered, a second of them or more",
  },
  {
    setting: "no-appendfsync-on-rewrite",
    wanted: "no",
    wrong: "`yes`",
    isWrong: isNot("no"),
    verdict: SettingVerdict.warn,
    promises: ["P1"],
    breaks: "while the file is rewritten nothing is flushed, whatever appendfsync says",
  },
  {
    setting: "repl-backlog-ttl",
    wanted: "0",
    wrong: "any other",
    isWrong: isNot("0"),
    verdict: SettingVerdict.warn,
    promises: [],
    breaks: "so long after the last replica left, the replication id changes, and the shard closes until a new epoch has begun",
  },
];

/** These are in INFO, too, which a server that hides CONFIG shows. */
const inInfo = (info: string, setting: string): string | undefined => {
  const field = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
  if (setting === "maxmemory-policy") return field("maxmemory_policy");
  const isOn = setting === "appendonly" ? field("aof_enabled") : undefined;
  return isOn === undefined ? undefined : isOn === "1" ? "yes" : "no";
};

const readInfo = async (redis: Redis): Promise<string> => {
  const sections = await Promise.all(["memory", "persistence"].map((section) => redis.call("INFO", section)));
  return sections.map(String).join("\n");
};

/** An error that the server answered with; a server that is away, or a time-out, is something else. */
const isRefusal = (error: unknown): error is Error => error instanceof Error && error.name === "ReplyError";

/**
 * What of a shard's Redis is set up wrongly. Where CONFIG is not allowed, INFO says some of it.
 * @throws if the server does not answer
 */
export const redisProblems = async (redis: Redis): Promise<readonly SettingProblem[]> => {
  const shown = new Map<string, string>();
  let hiddenBecause = "CONFIG GET does not name it";
  try {
    for (const setting of settingsOf(REDIS_RULES)) {
      const [, value] = (await redis.call("CONFIG", "GET", setting)) as readonly string[];
      if (value !== undefined) shown.set(setting, value);
    }
  } catch (error) {
    if (!isRefusal(error)) throw error;
    hiddenBecause = `CONFIG GET: ${error.message}`;
    const info = await readInfo(redis);
    for (const setting of settingsOf(REDIS_RULES)) {
      const value = inInfo(info, setting);
      if (value !== undefined) shown.set(setting, value);
    }
  }
  return judgeSettings(REDIS_RULES, { value: (setting) => shown.get(setting), hiddenBecause });
};
