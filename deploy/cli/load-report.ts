import Table from "cli-table3";
import type { Crowd } from "./crowd.ts";
import { NO_INNER_LINES, type Palette } from "./color.ts";

/** What `--report FILE` of `load` holds: counts of buyers and answers, as the demo's; times in ms. */
export interface LoadReport {
  readonly url: string;
  readonly sales: readonly string[];
  readonly buyers: number;
  readonly sockets: number;
  /** requests a second that were intended */
  readonly rate: number;
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** buyers answered that a unit is theirs */
  readonly reserved: number;
  /** of them: those that GET calls confirmed */
  readonly confirmed: number;
  readonly repeats: number;
  readonly soldOut: number;
  readonly rateLimited: number;
  readonly comeAgain: number;
  /** any other refusal */
  readonly refused: number;
  /** transport failures, 5xx without a code of ours, contradictions */
  readonly errors: number;
  /** buyers without a definite answer */
  readonly unanswered: number;
  /** answers that cannot both be true; a few of them */
  readonly contradictions: readonly string[];
  /** from when a request was to be sent until its answer was there */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** from when a buyer on a socket was to buy until the stored order was pushed */
  readonly confirmP99Ms: number;
  /** how much later than intended requests were sent; part of the times above */
  readonly lagP99Ms: number;
  /** it was ended by hand: the rest is what there was until then */
  readonly isStopped: boolean;
}

export interface LoadCourse {
  readonly url: string;
  readonly sales: readonly string[];
  readonly buyers: number;
  readonly sockets: number;
  readonly rate: number;
  readonly rushMs: number;
  /** requests until the rush was over */
  readonly requests: number;
  readonly confirmed: number;
  readonly isStopped: boolean;
}

const ms = (microseconds: number): number => Math.round(microseconds / 100) / 10;

export const loadReport = (crowd: Crowd, { rushMs, ...course }: LoadCourse): LoadReport => {
  const { counts, latency, answered, contradictions } = crowd.ledger;
  const { reserved, repeats, soldOut, rateLimited, comeAgain, refused, errors } = counts;
  return {
    ...course,
    requestsPerSecond: Math.round((course.requests * 1_000) / Math.max(1, rushMs)),
    reserved,
    repeats,
    soldOut,
    rateLimited,
    comeAgain,
    refused,
    errors,
    unanswered: course.buyers - answered,
    contradictions,
    p50Ms: ms(latency.percentile(50)),
    p99Ms: ms(latency.percentile(99)),
    maxMs: ms(latency.max),
    confirmP99Ms: ms(crowd.confirmLatency.percentile(99)),
    lagP99Ms: ms(crowd.lag.percentile(99)),
  };
};

/** Everybody has a definite answer, every winner an order, and no two answers contradict each other. */
export const isLoadSound = (report: LoadReport): boolean =>
  !report.isStopped && report.unanswered === 0 && report.contradictions.length === 0 && report.confirmed === report.reserved;

const count = (value: number): string => value.toLocaleString("en-US");

export const loadText = (report: LoadReport, palette: Palette): string => {
  const table = new Table({ style: palette.table, chars: NO_INNER_LINES, colAligns: ["left", "right", "left"] });
  const same = (value: number, expected: number): string => (value === expected ? palette.good : palette.bad)(count(value));
  table.push(
    ["buyers", count(report.buyers), `${count(report.sockets)} of them by WebSocket`],
    ["requests", count(report.requests), `${count(report.requestsPerSecond)} a second; ${count(report.rate)} were intended`],
    ["reserved", count(report.reserved), "buyers answered that a unit is theirs"],
    ["confirmed", same(report.confirmed, report.reserved), "of them, asked with GET at the end"],
    ["sold out", count(report.soldOut), "answers"],
    ["repeats", count(report.repeats), "winners who asked again and got the same order"],
    ["rate limited", count(report.rateLimited), "answers, with Retry-After"],
    ["come again", count(report.comeAgain), "answers, with Retry-After"],
    ["refused", count(report.refused), "other answers"],
    ["errors", (report.errors === 0 ? palette.good : palette.warning)(count(report.errors)), "broken connections, answers not ours"],
    ["unanswered", same(report.unanswered, 0), "buyers who went home without a definite answer"],
    ["contradictions", same(report.contradictions.length, 0), "answers that cannot both be true"],
    ["decided after", `${report.p50Ms} ms`, `median; p99 ${report.p99Ms} ms, most ${report.maxMs} ms, from when it was to be sent`],
    ["sent late by", `${report.lagP99Ms} ms`, "p99, this crowd's own part of it"],
    ["confirmed after", `${report.confirmP99Ms} ms`, "p99 by WebSocket, from buy to committed in Postgres"],
  );
  return table.toString();
};
