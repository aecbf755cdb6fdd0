import Table from "cli-table3";
import { isFull, ShardCondition, type ShardFacts } from "#protocol";
import { NO_INNER_LINES, type Paint, type Palette } from "./color.ts";

const number = (value: number | null): string => (value === null ? "-" : value.toLocaleString("en-US"));
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;

/** Postgres applies what it can reach within a second. */
const STUCK_MS = 10_000;
/** After that an attempt that ended well is history. */
const RECENT_MS = 60_000;

const attemptText = ({ attempt }: ShardFacts): string | undefined => {
  if (attempt === null || (attempt.result === "opened" && attempt.agoMs > RECENT_MS)) return undefined;
  const how = attempt.ofUnits === 0 ? "" : ` ${number(attempt.orders)} orders of ${number(attempt.ofUnits)} units`;
  if (attempt.result === null) return `${attempt.phase}${how}, by ${attempt.holder}`;
  return attempt.result === "opened"
    ? `opened ${seconds(attempt.agoMs)} ago${how === "" ? "" : `, restored${how}`}`
    : `the last attempt ended ${attempt.result} at ${attempt.phase} ${seconds(attempt.agoMs)} ago`;
};

/** Used share of what the server may use; "-" where it has no bound, or does not answer. */
const memoryText = ({ memory }: ShardFacts): string =>
  memory === undefined || memory === null || memory.mostBytes === 0 ? "-" : `${Math.round((memory.usedBytes / memory.mostBytes) * 100)} %`;

const noteOf = (facts: ShardFacts): string => {
  const { units, epoch, redisEpoch, halted, oldestMs } = facts;
  return [
    halted === null ? undefined : `halted: ${halted}`,
    oldestMs === undefined || oldestMs === null || oldestMs < STUCK_MS
      ? undefined
      : `its outbox does not move: the first entry waits for ${seconds(oldestMs)}`,
    redisEpoch !== null && redisEpoch > epoch ? `Redis is at epoch ${redisEpoch}, beyond Postgres` : undefined,
    units.arriving === 0 ? undefined : `${number(units.arriving)} units arriving`,
    isFull(facts) ? "its Redis is full: new buyers hear busy until there is room" : undefined,
    attemptText(facts),
  ]
    .filter((part) => part !== undefined)
    .join("; ");
};

const paintOf = (state: string, palette: Palette): Paint => {
  if (state === ShardCondition.open) return palette.good;
  return state === ShardCondition.halted || state === ShardCondition.away ? palette.bad : palette.warning;
};

/** What `doorbuster shards` prints: a row a shard. */
export const shardsText = (shards: readonly ShardFacts[], palette: Palette): string => {
  const table = new Table({
    head: ["shard", "state", "epoch", "lease", "memory", "outbox", "sales", "left", "reserved", "sold"],
    colAligns: ["right", "left", "right", "left", "right", "right", "right", "right", "right", "right"],
    style: palette.table,
    ...(shards.length > 3 ? { chars: NO_INNER_LINES } : {}),
  });
  for (const facts of shards)
    table.push([
      String(facts.shard),
      paintOf(facts.state, palette)(facts.state),
      String(facts.epoch),
      facts.holder ?? "-",
      isFull(facts) ? palette.bad(memoryText(facts)) : memoryText(facts),
      number(facts.outboxEntries),
      number(facts.sales),
      number(facts.units.left),
      number(facts.units.reserved),
      number(facts.units.sold),
    ]);
  const notes = shards.flatMap((facts) => {
    const note = noteOf(facts);
    return note === "" ? [] : [palette.quiet(`shard ${facts.shard}: ${note}`)];
  });
  return `${[table.toString(), ...notes].join("\n")}\n`;
};
