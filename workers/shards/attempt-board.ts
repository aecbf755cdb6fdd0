import type { NatsConnection } from "nats";
import type { Clock } from "#protocol/ports";
import { attemptNewsSchema, type AttemptNews } from "#protocol/shard-facts";
import { ALL_ATTEMPT_SUBJECTS } from "#protocol/subjects";

/** The last that was heard of each shard's attempts to begin an epoch. */
export interface AttemptBoard {
  of(shard: number): { readonly news: AttemptNews; readonly agoMs: number } | undefined;
}

const read = (text: string): AttemptNews | undefined => {
  try {
    return attemptNewsSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
};

/** Listens to what coordinators tell. A worker that has just started knows nothing until the next step. */
export const hearAttempts = (connection: NatsConnection, clock: Clock): AttemptBoard => {
  const heard = new Map<number, { readonly news: AttemptNews; readonly atMs: number }>();
  connection.subscribe(ALL_ATTEMPT_SUBJECTS, {
    callback: (error, message) => {
      const news = error === null ? read(message.string()) : undefined;
      if (news !== undefined) heard.set(news.shard, { news, atMs: clock.monotonicMs() });
    },
  });
  return {
    of: (shard) => {
      const last = heard.get(shard);
      return last === undefined ? undefined : { news: last.news, agoMs: Math.round(clock.monotonicMs() - last.atMs) };
    },
  };
};
