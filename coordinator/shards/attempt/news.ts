import type { AttemptResult } from "./attempt.ts";
import type { KeeperObserver } from "../keeper-observer.ts";
import { AttemptPhase, type AttemptNews } from "#protocol/shard-facts";

/**
 * An observer that also tells everybody who listens where the shard's attempts are. A piece of news that is lost is made
 * up for by the next one.
 */
export const tellAttempts = (
  observer: KeeperObserver,
  who: { readonly shard: number; readonly holder: string },
  publish: (news: AttemptNews) => void,
): KeeperObserver => {
  const fresh = { ...who, phase: AttemptPhase.ask, orders: 0, ofUnits: 0, result: null };
  let news: AttemptNews = fresh;
  const tell = (change: Partial<AttemptNews>): void => {
    news = { ...news, ...change };
    publish(news);
  };
  return {
    ...observer,
    attempting: (phase, restored) => {
      observer.attempting(phase, restored);
      if (phase === AttemptPhase.ask) news = fresh;
      tell({ phase, ...(restored === undefined ? {} : { orders: restored.orders, ofUnits: restored.ofUnits }) });
    },
    attempted: (result: AttemptResult, epoch) => {
      observer.attempted(result, epoch);
      tell({ result });
    },
  };
};
