import { SettingVerdict, type SettingProblem } from "#program/setting-problems";
import { judgeSettings, settingsOf, type SettingRule } from "./rule.ts";

const is =
  (wrong: string) =>
  (found: string): boolean =>
    found === wrong;

/** What the workers' Postgres has to be set to, for their user and database. */
export const POSTGRES_RULES: readonly SettingRule[] = [
  {
    setting: "synchronous_commit",
    wanted: "on",
    wrong: "`off`",
    isWrong: is("off"),
    verdict: SettingVerdict.refuse,
    promises: ["P1"],
    breaks: "a crash of Postgres loses orders that buyers were told are confirmed, and that Redis has let go",
  },
  {
    setting: "transaction_read_only",
    wanted: "off",
    wrong: "`on`: a standby, or `default_transaction_read_only`",
    isWrong: is("on"),
    verdict: SettingVerdict.refuse,
    promises: ["P1"],
    breaks: "no order can be stored",
  },
  {
    setting: "fsync",
    wanted: "on",
    wrong: "`off`",
    isWrong: is("off"),
    verdict: SettingVerdict.warn,
    promises: ["P1"],
    breaks: "a power cut loses confirmed orders, or the whole database",
  },
  {
    setting: "full_page_writes",
    wanted: "on",
    wrong: "`off`",
    isWrong: is("off"),
    verdict: SettingVerdict.warn,
    promises: ["P1"],
    breaks: "a power cut can leave half-written pages, with confirmed orders in them",
  },
  {
    setting: "server_encoding",
    wanted: "UTF8",
    wrong: "any other",
    isWrong: (found) => found !== "UTF8",
    verdict: SettingVerdict.warn,
    promises: [],
    breaks: "titles and reasons in other scripts are refused, or stored unreadably",
  },
  {
    setting: "transaction_timeout",
    wanted: "0",
    wrong: "any other (PostgreSQL 17)",
    isWrong: (found) => found !== "0",
    verdict: SettingVerdict.warn,
    promises: [],
    breaks: "the rebuild of a large shard reads one snapshot for longer, and never ends",
  },
];

/** By the connections that the workers may open: the server's, where no pool stands before it. */
const connectionsRule = (connections: number): SettingRule => ({
  ...MAX_CONNECTIONS_RULE,
  wanted: `${connections} or more`,
  isWrong: (found) => Number(found) < connections,
});

/** Of a pool in front: one that deals out single statements refuses BEGIN. */
export const POOL_RULE: SettingRule = {
  setting: "pool_mode",
  wanted: "transaction or session",
  wrong: "`statement` (PgBouncer)",
  isWrong: (found) => found === "statement",
  verdict: SettingVerdict.refuse,
  promises: ["P1"],
  breaks: "there are no transactions: no order can be stored",
};

export const MAX_CONNECTIONS_RULE: SettingRule = {
  setting: "max_connections",
  wanted: "the workers' processes times DOORBUSTER_DATABASE_POOL, and what is reserved for superusers",
  wrong: "fewer",
  isWrong: () => false,
  verdict: SettingVerdict.warn,
  promises: [],
  breaks: "under load the workers are refused connections, and orders are confirmed late",
};

/** They are there from a certain version of Postgres on. */
const MAY_BE_MISSING: ReadonlySet<string> = new Set(["transaction_timeout"]);
const SHOWN = `SELECT name, setting FROM pg_settings WHERE name = ANY(?::text[])`;

type Query = (text: string, bindings: readonly unknown[]) => Promise<{ readonly rows: readonly Readonly<Record<string, unknown>>[] }>;

/**
 * What of Postgres is set up wrongly, for the user and database of this connection.
 * @param connections that all the workers of this machine may open
 * @throws if it does not answer
 */
export const postgresProblems = async (query: Query, connections: number): Promise<readonly SettingProblem[]> => {
  const names = [...settingsOf(POSTGRES_RULES), MAX_CONNECTIONS_RULE.setting, "superuser_reserved_connections"];
  const { rows } = await query(SHOWN, [names]);
  const shown = new Map(rows.map((row) => [String(row["name"]), String(row["setting"])]));
  const rules = POSTGRES_RULES.filter(({ setting }) => shown.has(setting) || !MAY_BE_MISSING.has(setting));
  const reserved = Number(shown.get("superuser_reserved_connections") ?? 0);
  return judgeSettings([...rules, connectionsRule(connections + reserved)], {
    value: (setting) => shown.get(setting),
    hiddenBecause: "pg_settings does not show it",
  });
};

/** PgBouncer's words; its error has the code 08P01, as many others have. */
const REFUSES_TRANSACTIONS = /statement pooling/;

/** What a pool in front is set to, by what it answered to BEGIN; undefined: it began. */
export const poolProblems = (refusal: string | undefined): readonly SettingProblem[] =>
  refusal !== undefined && REFUSES_TRANSACTIONS.test(refusal)
    ? judgeSettings([POOL_RULE], { value: () => "statement", hiddenBecause: "" })
    : [];
