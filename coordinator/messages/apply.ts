import { decide, type Effect, type MessageEvent, type MessagePolicy, type EventReply } from "./machine.ts";
import type { MessageStore, Misplaced } from "./message-ports.ts";
import type { MessageRecord } from "./record.ts";

/** Each lost race means that somebody else got on: so many in a row is a fault, not contention. */
const RACES_MOST = 50;

export interface AppliedEvent {
  readonly reply: EventReply;
  /** as it is stored now */
  readonly record: MessageRecord | undefined;
  readonly effects: readonly Effect[];
  /** nothing happened: a new message must be placed again */
  readonly misplaced?: Misplaced;
}

/**
 * Decides about an event and stores what follows, again from what is there if somebody else stored first.
 * `known` may be old, or undefined: the store corrects it, at the price of one more round trip. A new message is stored
 * not later than `untilMs` of the shard's clock.
 */
export const applyEvent = async (
  store: MessageStore,
  policy: MessagePolicy,
  shard: number,
  gid: string,
  event: MessageEvent,
  known: MessageRecord | undefined,
  untilMs = 0,
): Promise<AppliedEvent> => {
  let before = known;
  for (let race = 0; race < RACES_MOST; race += 1) {
    const { reply, change, effects } = decide(policy, before, event, await store.nowMs(shard));
    if (change === undefined) return { reply, record: before, effects };
    const stored = before === undefined ? await store.create(shard, gid, change, untilMs) : await store.change(shard, gid, before, change);
    if (stored.status === "ok") return { reply, record: change.record, effects };
    if (stored.status === "late" || stored.status === "elsewhere") return { reply, record: undefined, effects: [], misplaced: stored };
    before = stored.record;
  }
  throw new Error(`message ${gid}: others changed it first ${RACES_MOST} times in a row`);
};
