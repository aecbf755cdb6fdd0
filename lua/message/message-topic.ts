import type { Redis } from "ioredis";
import { topicsKey } from "../core/keys.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const messageTopicScript = loadScript("message-topic", import.meta.url);

export type ChangeTopicAnswer = { readonly status: "ok" } | { readonly status: "changed"; readonly value: string };

/** Replaces a topic's value if it still is `expected`; an empty text means that there is none. */
export const changeTopic = async (
  redis: ScriptRedis,
  { topic, expected, value }: { topic: string; expected: string; value: string },
): Promise<ChangeTopicAnswer> => {
  const [status, there] = (await messageTopicScript.run(redis, [topicsKey], [topic, expected, value])) as ["ok" | "changed", string?];
  return status === "ok" ? { status } : { status, value: there ?? "" };
};

/** @returns an empty text if there is no such topic */
export const readTopic = async (redis: Redis, topic: string): Promise<string> => (await redis.hget(topicsKey, topic)) ?? "";
