import type { MessageRules } from "../messages/rules.ts";
import type { Mutation } from "./mutation.ts";

const messages = (name: string, rule: string, ...off: readonly (keyof MessageRules)[]): Mutation => ({
  name: `messages: ${name}`,
  rule,
  scene: "messages",
  twins: () => ({ messages: Object.fromEntries(off.map((one) => [one, false])) }),
});

/** Rules of the two-phase messages (DESIGN 6). */
export const MESSAGE_MUTATIONS: readonly Mutation[] = [
  messages("barrier before stock", "a step that was made answers before the stock is looked at", "barrierFirst"),
  messages("failure bars", "a failure of a message's own step bars it, in the same script", "failureBars"),
  messages("query-back bars", "a query that finds no step bars it for ever", "queryBars"),
  messages("idempotent submit", "a prepare or submit of a message that is there changes nothing", "keepsFirst"),
  messages("change by version", "a message is changed only as it was read", "comparesVersion"),
  messages("claimed is due again", "who claims a message and dies leaves it due", "holds"),
  messages("unfinished never expires", "only a finished record expires", "keepsUnfinished"),
  messages("lease for delivery", "calls are started only while the lease lasts", "minds"),
  messages("placements are told", "coordinators of other numbers of shards hear of each other", "tellsPlacements"),
  messages(
    "misplaced refused",
    "a message is not stored where its place was given up, or by knowledge that is too old",
    "refusesMisplaced",
  ),
];
