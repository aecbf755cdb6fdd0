import type { Scenario } from "./scenario.ts";
import { crowd } from "./scenarios/crowd.ts";
import { decide } from "./scenarios/decide.ts";
import { generator } from "./scenarios/generator.ts";
import { live } from "./scenarios/live.ts";
import { messages } from "./scenarios/messages.ts";
import { orders } from "./scenarios/orders.ts";
import { peers } from "./scenarios/peers.ts";
import { reads } from "./scenarios/reads.ts";
import { recover } from "./scenarios/recover.ts";
import { refuse } from "./scenarios/refuse.ts";
import { scale } from "./scenarios/scale.ts";
import { soldOut } from "./scenarios/sold-out.ts";
import { shard } from "./scenarios/shard.ts";
import { tracing } from "./scenarios/tracing.ts";
import { transfers } from "./scenarios/transfers.ts";

/** In the order in which they are run and shown. */
export const SCENARIOS: readonly Scenario[] = [
  generator,
  refuse,
  decide,
  shard,
  orders,
  live,
  reads,
  messages,
  scale,
  transfers,
  soldOut,
  crowd,
  recover,
  tracing,
  peers,
];

/** `refuse` asks for all of refuse's entries, `refuse.soldOut` for that one and what is below it. */
export const isAsked = (asked: readonly string[], entry: string): boolean =>
  asked.length === 0 || asked.some((name) => entry === name || entry.startsWith(`${name}.`));

/** @throws Error if a name asks for nothing */
export const planOf = (asked: readonly string[], scenarios = SCENARIOS): readonly Scenario[] => {
  const all = scenarios.flatMap(({ entries }) => entries);
  for (const name of asked)
    if (!all.some((entry) => isAsked([name], entry))) throw new Error(`no scenario ${name}; there are ${all.join(", ")}`);
  return scenarios.filter(({ entries }) => entries.some((entry) => isAsked(asked, entry)));
};
