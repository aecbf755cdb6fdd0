import Table from "cli-table3";
import { NO_INNER_LINES, type Palette } from "./color.ts";

/** What `--report FILE` holds: counts of buyers, answers, orders and units; times in ms. */
export interface DemoReport {
  readonly stock: number;
  readonly buyers: number;
  readonly requests: number;
  /** buyers answered that a unit is theirs */
  readonly reserved: number;
  /** further answers with the same order id */
  readonly repeats: number;
  readonly soldOut: number;
  /** reservations that went down with the data of their Redis before they were confirmed; those buyers bought again */
  readonly lostWithRedis: number;
  readonly rateLimited: number;
  /** answered to come again later */
  readonly comeAgain: number;
  /** transport failures, 5xx without a code of ours, contradictions */
  readonly errors: number;
  /** of the reserved buyers: those that GET calls confirmed */
  readonly confirmed: number;
  /** live orders in Postgres */
  readonly orders: number;
  readonly free: number;
  readonly inFlight: number;
  /** units in live orders above the stock */
  readonly oversold: number;
  /** buyers answered `reserved` who have no such order at the end */
  readonly lost: number;
  readonly duplicateOrders: number;
  readonly restarts: number;
  readonly requestsPerSecond: number;
  readonly ordersPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly confirmP99Ms: number;
  readonly auditOk: boolean;
}

const count = (value: number): string => value.toLocaleString("en-US");
/** Nothing lost, nothing twice, nothing too much, nobody called too late while units were left, and the audit agrees. */
export const isSound = (report: DemoReport): boolean =>
  report.auditOk &&
  report.oversold === 0 &&
  report.lost === 0 &&
  report.duplicateOrders === 0 &&
  report.confirmed === report.reserved &&
  !(report.free > 0 && report.soldOut > 0);

/** The summary that a newcomer sees last. */
export const reportText = (report: DemoReport, palette: Palette): string => {
  const table = new Table({ style: palette.table, chars: NO_INNER_LINES, colAligns: ["left", "right", "left"] });
  const same = (value: number, expected: number): string => (value === expected ? palette.good : palette.bad)(count(value));
  const zero = (value: number): string => same(value, 0);
  table.push(
    ["stock", count(report.stock), "units on sale"],
    ["buyers", count(report.buyers), `sent ${count(report.requests)} requests, ${count(report.requestsPerSecond)} a second`],
    ["reserved", count(report.reserved), "buyers answered that a unit is theirs"],
    ["confirmed", same(report.confirmed, report.reserved), "of them, asked with GET at the end"],
    ["orders", same(report.orders, report.reserved), `rows in Postgres, ${count(report.ordersPerSecond)} a second`],
    ["left", count(report.free), `units; ${count(report.inFlight)} on their way`],
    ["sold out", count(report.soldOut), "answers"],
    ["repeats", count(report.repeats), "winners who asked again and got the same order"],
    ...(report.lostWithRedis === 0
      ? []
      : [
          [
            "lost with Redis",
            count(report.lostWithRedis),
            "reservations not yet stored when a Redis lost its data; those buyers came again",
          ],
        ]),
    ["rate limited", count(report.rateLimited), "answers, with Retry-After"],
    ["come again", count(report.comeAgain), "answers, with Retry-After"],
    [
      "errors",
      (report.errors === 0 ? palette.good : palette.warning)(count(report.errors)),
      "broken connections and answers that are not ours",
    ],
    ["oversold", zero(report.oversold), "units"],
    ["lost", zero(report.lost), "buyers answered reserved, without an order"],
    ["duplicates", zero(report.duplicateOrders), "orders"],
    ["restarts", count(report.restarts), "of servers and programs"],
    ["decided after", `${report.p50Ms} ms`, `median; p99 ${report.p99Ms} ms`],
    ["confirmed after", `${report.confirmP99Ms} ms`, "p99, from buy to committed in Postgres"],
  );
  return table.toString();
};
