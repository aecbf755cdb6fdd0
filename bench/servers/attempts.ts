import { connect } from "nats";
import { AttemptPhase, attemptNewsSchema, everyShard, publications, type AttemptNews } from "#protocol";
import type { StackInfo } from "../../deploy/local/index.ts";

export interface HeardNews {
  readonly news: AttemptNews;
  readonly atMs: number;
}

/** What it took to open shards again, each at its own pace. */
export interface Reopening {
  /** when the last of them was open */
  readonly openAtMs: number;
  /** the longest that one waited until another server must have stopped: a fixed time, and no work */
  readonly waitMs: number;
  /** from the first that began to be written anew until the last was written; 0 where nothing was lost */
  readonly rebuildMs: number;
  /** orders that were written */
  readonly orders: number;
}

/** @returns undefined while one of the shards is not open */
export const reopeningOf = (heard: readonly HeardNews[], shards: readonly number[]): Reopening | undefined => {
  let openAtMs = 0;
  let waitMs = 0;
  let orders = 0;
  const rebuiltAtMs: number[] = [];
  for (const shard of shards) {
    const own = heard.filter(({ news }) => news.shard === shard);
    const last = own.at(-1);
    if (last?.news.result !== "opened") return undefined;
    openAtMs = Math.max(openAtMs, last.atMs);
    orders += last.news.orders;
    let waitedMs = 0;
    for (const [at, { news, atMs }] of own.entries()) {
      // a step lasts until the next news of the shard; an attempt that has ended is at none
      const untilMs = own[at + 1]?.atMs;
      if (untilMs === undefined || news.result !== null) continue;
      if (news.phase === AttemptPhase.wait) waitedMs += untilMs - atMs;
      if (news.phase === AttemptPhase.restore) rebuiltAtMs.push(atMs, untilMs);
    }
    waitMs = Math.max(waitMs, waitedMs);
  }
  const rebuildMs = rebuiltAtMs.length === 0 ? 0 : Math.max(...rebuiltAtMs) - Math.min(...rebuiltAtMs);
  return { openAtMs, waitMs, rebuildMs, orders };
};

/** Listens to what the coordinators of a stack tell of their attempts to begin an epoch. */
export interface Attempts {
  /** what was told before is not counted */
  forget(): void;
  reopening(shards: readonly number[]): Reopening | undefined;
  stop(): Promise<void>;
}

export const hearAttempts = async ({ nats }: StackInfo): Promise<Attempts> => {
  const connection = await connect({
    servers: nats.url,
    ...(nats.user === null ? {} : { user: nats.user }),
    ...(nats.pass === null ? {} : { pass: nats.pass }),
  });
  let heard: HeardNews[] = [];
  connection.subscribe(everyShard(publications.attempt), {
    callback: (error, message) => {
      if (error === null) heard.push({ news: attemptNewsSchema.parse(message.json()), atMs: performance.now() });
    },
  });
  await connection.flush();
  return {
    forget: () => {
      heard = [];
    },
    reopening: (shards) => reopeningOf(heard, shards),
    stop: () => connection.close(),
  };
};
