import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { BROKER_RULES, STREAM_RULES } from "#program/store-settings/jetstream";
import { MAX_CONNECTIONS_RULE, POOL_RULE, POSTGRES_RULES } from "#program/store-settings/postgres";
import { REDIS_RULES } from "#program/store-settings/redis";
import type { SettingRule } from "#program/store-settings/rule";

const page = readFileSync(new URL("../../deploy/STORES.md", import.meta.url), "utf8");

/** Rows of the tables under a heading, cell by cell. */
const rowsUnder = (heading: string): string[][] => {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? "";
  return section
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
};

const rowOf = ({ setting, wanted, wrong, verdict, promises, breaks }: SettingRule): string[] => [
  `\`${setting}\``,
  wanted,
  wrong,
  verdict,
  promises.join(", "),
  breaks,
];

it.each([
  ["Redis", REDIS_RULES],
  ["NATS", BROKER_RULES],
  ["PostgreSQL", [...POSTGRES_RULES, POOL_RULE, MAX_CONNECTIONS_RULE]],
])("has every rule for %s, and no other", (heading, rules) => {
  expect(rowsUnder(heading)).toEqual(rules.map(rowOf));
});

it("has every setting of the log's stream, and no other", () => {
  expect(rowsUnder("The stream `orders`")).toEqual(
    STREAM_RULES.map(({ setting, wanted, isAskedFor, breaks }) => [
      `\`${setting}\``,
      wanted === undefined ? "`DOORBUSTER_LOG_BYTES`" : isAskedFor ? `\`${JSON.stringify(wanted)}\`` : "none",
      breaks,
    ]),
  );
});
