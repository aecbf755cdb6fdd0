import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, it } from "vitest";
import { settingProblems, SettingVerdict, type SettingProblem } from "./setting-problems.ts";

const policy: SettingProblem = {
  setting: "maxmemory-policy",
  found: "allkeys-lru",
  wanted: "noeviction",
  verdict: SettingVerdict.refuse,
  breaks: "keys are deleted",
};

it("says a setting once when it is found wrong and once when it is right, and shows it in between", async () => {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) });
  const registry = new Registry();
  const problems = settingProblems(log, registry);
  for (const found of [[policy], [policy]]) problems.note("redis://127.0.0.1:6379", found);
  expect(lines).toMatchObject([{ level: 50, alert: true, place: "redis://127.0.0.1:6379", setting: "maxmemory-policy" }]);
  expect(problems.all()).toEqual([{ place: "redis://127.0.0.1:6379", ...policy }]);
  expect(await registry.metrics()).toContain(
    'doorbuster_setting_problem{place="redis://127.0.0.1:6379",setting="maxmemory-policy",verdict="refuse"} 1',
  );
  for (const found of [[], []]) problems.note("redis://127.0.0.1:6379", found);
  expect(lines).toHaveLength(2);
  expect(problems.all()).toEqual([]);
  expect(await registry.metrics()).not.toContain("maxmemory-policy");
});
