import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { compareInThread, eachLiveOrder, openStores, type AuditReport, type AuditStores } from "../../workers/index.ts";
import { auditOnce, storesOf } from "./audit.ts";
import { buyerOf, Crowd } from "./crowd.ts";
import type { DemoReport } from "./demo-report.ts";
import type { Screen } from "./demo-screen.ts";
import { GLANCE_MS, Watcher } from "./demo-watcher.ts";
import type { ReadyFile } from "./ready-file.ts";
import { signingKeys } from "./tickets.ts";

export interface DemoSale {
  readonly id: string;
  readonly units: number;
}

export interface DemoRun {
  readonly ready: ReadyFile;
  readonly sales: readonly DemoSale[];
  /** totals over the sales */
  readonly stock: number;
  readonly buyers: number;
  readonly restarts: () => number;
  /** when a shard's Redis was last started without the data that it had, on performance.now()'s clock */
  readonly emptiedAtMs: (shard: number) => number | undefined;
  readonly screen: Screen;
  readonly stop: AbortSignal;
}

export interface DemoResult {
  readonly report: DemoReport;
  readonly audited: AuditReport;
  /** answers that cannot both be true */
  readonly contradictions: readonly string[];
  /** buyers who went home without a definite answer */
  readonly unanswered: number;
}

/** "A few hundred WebSocket buyers", fewer in a small crowd. */
const SOCKETS = 300;
const SOCKETS_PART = 10;
/** The backlog may stand still this long (a store that was killed is back within seconds). */
const BACKLOG_PATIENCE_MS = 60_000;
/** So long where a Redis has lost its data: what was reserved there and not yet carried away will never come. */
const LOST_PATIENCE_MS = 10_000;
const AUDIT_TRIES = 5;
const AUDIT_AGAIN_MS = 3_000;

/** Resolves when Postgres has an order for every reserved buyer, or nothing has moved for long. */
const drainBacklog = async (run: DemoRun, crowd: Crowd, watcher: Watcher): Promise<void> => {
  const { stop } = run;
  const from = performance.now();
  const isEmptied = run.ready.redis.some((_, shard) => run.emptiedAtMs(shard) !== undefined);
  const patienceMs = isEmptied ? LOST_PATIENCE_MS : BACKLOG_PATIENCE_MS;
  while (!stop.aborted && watcher.sold < crowd.ledger.counts.reserved) {
    if (performance.now() - Math.max(from, watcher.soldAt) > patienceMs) return;
    await delay(GLANCE_MS, undefined, { signal: stop }).catch(() => undefined);
  }
};

/** A server that was killed a moment ago may still be starting. */
const auditPatiently = async (run: DemoRun): Promise<AuditReport> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await auditOnce(storesOf(run.ready));
    } catch (error) {
      if (attempt === AUDIT_TRIES) throw error;
      run.screen.say(`${(error as Error).message}; the audit is tried again`);
      await delay(AUDIT_AGAIN_MS, undefined, { signal: run.stop });
    }
  }
};

/** How the sale went, as the crowd saw it. */
interface Course {
  readonly rushMs: number;
  /** sent in the rush */
  readonly requests: number;
  /** winners whose order GET calls confirmed */
  readonly confirmed: number;
  /** from the start until Postgres had the last order */
  readonly soldAfterMs: number;
}

/** Orders of these sales, and the reserved buyers without theirs. */
interface Stored {
  readonly orders: number;
  readonly lost: number;
}

const countOrders = async (stores: AuditStores, run: DemoRun, crowd: Crowd): Promise<Stored> => {
  const { orderIds } = crowd.ledger;
  const found = new Set<number>();
  let orders = 0;
  await eachLiveOrder(
    stores,
    run.sales.map((sale) => sale.id),
    (order) => {
      orders += 1;
      const buyer = buyerOf(order.uid);
      if (orderIds[buyer] === order.orderId) found.add(buyer);
    },
  );
  return { orders, lost: crowd.ledger.counts.reserved - found.size };
};

/** Rush, backlog, and every winner's standing, until nobody's reservation has gone down with its Redis since. */
const sellOut = async (run: DemoRun, crowd: Crowd, watcher: Watcher): Promise<Course> => {
  const { screen, stop } = run;
  let startedAt = 0;
  await crowd.rush(() => {
    startedAt = performance.now();
    screen.begin({ buyers: run.buyers, stock: run.stock });
    watcher.start();
  });
  const rushMs = performance.now() - startedAt;
  const { requests } = crowd.ledger.counts;
  stop.throwIfAborted();
  let confirmed = 0;
  for (let isOver = false; !isOver;) {
    await drainBacklog(run, crowd, watcher);
    stop.throwIfAborted();
    const gone = await crowd.confirm((_buyer, code) => {
      if (code === "confirmed") confirmed += 1;
    });
    stop.throwIfAborted();
    isOver = gone.length === 0;
    if (!isOver) {
      screen.say(`${gone.length} buyers hear that their reservation went down with the data of its Redis, and buy again`);
      await crowd.buyAgain(gone);
    }
  }
  const soldAfterMs = watcher.soldAt - startedAt;
  await watcher.end();
  screen.end();
  stop.throwIfAborted();
  return { rushMs, requests, confirmed, soldAfterMs };
};

const ms = (microseconds: number): number => Math.round(microseconds / 100) / 10;
const perSecond = (count: number, tookMs: number): number => Math.round((count * 1_000) / Math.max(1, tookMs));

const reportOf = (run: DemoRun, crowd: Crowd, course: Course, audited: AuditReport, stored: Stored): DemoReport => {
  const { counts, latency } = crowd.ledger;
  const ours = audited.sales.filter((sale) => run.sales.some(({ id }) => id === sale.id));
  const total = (of: (sale: (typeof ours)[number]) => number): number => ours.reduce((sum, sale) => sum + of(sale), 0);
  return {
    stock: run.stock,
    buyers: run.buyers,
    requests: course.requests,
    reserved: counts.reserved,
    repeats: counts.repeats,
    soldOut: counts.soldOut,
    lostWithRedis: counts.lostWithRedis,
    rateLimited: counts.rateLimited,
    comeAgain: counts.comeAgain,
    errors: counts.errors,
    confirmed: course.confirmed,
    orders: stored.orders,
    free: total((sale) => sale.free),
    inFlight: total((sale) => sale.inFlight + sale.reserved),
    oversold: total((sale) => Math.max(0, sale.sold - sale.total)),
    lost: stored.lost,
    duplicateOrders: total((sale) => sale.duplicates),
    restarts: run.restarts(),
    requestsPerSecond: perSecond(course.requests, course.rushMs),
    ordersPerSecond: perSecond(stored.orders, course.soldAfterMs),
    p50Ms: ms(latency.percentile(50)),
    p99Ms: ms(latency.percentile(99)),
    confirmP99Ms: ms(crowd.confirmLatency.percentile(99)),
    auditOk: audited.ok,
  };
};

const opening = (run: DemoRun, sockets: number): string => {
  const count = (value: number): string => value.toLocaleString("en-US");
  const sales = run.sales.length === 1 ? "the sale is" : `${run.sales.length} sales are`;
  return `${sales} open: ${count(run.stock)} units, ${count(run.buyers)} buyers, ${sockets} of them by WebSocket`;
};

/** The crowd comes to open sales: rush, backlog, every winner's standing, audit. @throws if it was stopped or nothing could be audited */
export const runDemo = async (run: DemoRun): Promise<DemoResult> => {
  const { screen, stop, ready } = run;
  const stores = await openStores(storesOf(ready), compareInThread(), pino({ level: "silent" }));
  try {
    const sockets = Math.min(SOCKETS, Math.floor(run.buyers / SOCKETS_PART));
    const sales = run.sales.map((sale) => sale.id);
    const keys = signingKeys(ready.ticketKeys);
    const crowd = new Crowd({ gateway: ready.gateway, keys, sales, buyers: run.buyers, sockets, emptiedAtMs: run.emptiedAtMs, stop });
    screen.say(opening(run, sockets));
    const course = await sellOut(run, crowd, new Watcher(sales, screen, crowd, stores));
    screen.say("everybody has an answer and every order is stored; auditing Redis, the log and Postgres");
    const audited = await auditPatiently(run);
    const stored = await countOrders(stores, run, crowd);
    return {
      audited,
      contradictions: crowd.ledger.contradictions,
      unanswered: run.buyers - crowd.ledger.answered,
      report: reportOf(run, crowd, course, audited, stored),
    };
  } finally {
    await stores.close();
  }
};
