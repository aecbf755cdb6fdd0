import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { ConfigError, readConfig, settings, type SettingName } from "#program";

const names = Object.keys(settings) as SettingName[];

const example = async (): Promise<Record<string, string>> => {
  const text = await readFile(new URL("../../.env.example", import.meta.url), "utf8");
  return Object.fromEntries([...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value]));
};

describe(".env.example", () => {
  it("lists every variable of every program, with a value that is valid", async () => {
    const listed = await example();
    expect(Object.keys(listed).sort()).toEqual([...names].sort());
    expect(() => readConfig(names, listed)).not.toThrow();
  });

  it("shows the defaults", async () => {
    const listed = await example();
    const required: Record<string, string> = {};
    for (const name of [
      "REDIS_SHARDS",
      "NATS_URL",
      "NATS_USER",
      "NATS_PASSWORD",
      "DATABASE_URL",
      "DOORBUSTER_ADMIN_TOKEN",
      "DOORBUSTER_TICKET_KEYS",
    ])
      required[name] = listed[name] ?? "";
    expect(readConfig(names, listed)).toEqual(readConfig(names, required));
  });

  it("has secrets that production refuses", async () => {
    const listed = { ...(await example()), NODE_ENV: "production" };
    const refusal = (() => {
      try {
        readConfig(names, listed);
      } catch (error) {
        return error;
      }
      return undefined;
    })();
    expect(refusal).toBeInstanceOf(ConfigError);
    expect((refusal as ConfigError).problems).toEqual([
      "NATS_PASSWORD: an example's secret is refused in production",
      "DATABASE_URL: an example's secret is refused in production",
      "DOORBUSTER_ADMIN_TOKEN: an example's secret is refused in production",
      "DOORBUSTER_TICKET_KEYS: an example's secret is refused in production",
    ]);
  });
});
