import type { NatsConnection } from "nats";
import type { Clock } from "#protocol/ports";
import { hear } from "#program/requests/publish";
import { publications } from "#protocol/requests/publications";
import type { AttemptNews } from "#protocol/shard-facts";

/** The last that was heard of each shard's attempts to begin an epoch. */
export interface AttemptBoard {
  of(shard: number): { readonly news: AttemptNews; readonly agoMs: number } | undefined;
}

/** Listens to what coordinators tell. A worker that has just started knows nothing until the next step. */
export const hearAttempts = (connection: NatsConnection, clock: Clock): AttemptBoard => {
  const heard = new Map<number, { readonly news: AttemptNews; readonly atMs: number }>();
  hear(connection, publications.attempt, { heard: (news) => void heard.set(news.shard, { news, atMs: clock.monotonicMs() }) });
  return {
    of: (shard) => {
      const last = heard.get(shard);
      return last === undefined ? undefined : { news: last.news, agoMs: Math.round(clock.monotonicMs() - last.atMs) };
    },
  };
};
