import type { MessageCounts, MessageList } from "#lua/message/message-read";
import type { ChangeTopicAnswer } from "#lua/message/message-topic";
import type { Clock } from "#protocol/ports";
import { applyEvent, type AppliedEvent } from "./apply.ts";
import type { MessageEvent, MessagePolicy } from "./machine.ts";
import type { Place, Placement } from "./placement.ts";
import type { MessageStore, Misplaced, StoredMessage } from "./message-ports.ts";
import { CorruptMessage, isFinished, MessageState, type MessageRecord } from "./record.ts";

/** What the lists of the API need of the store. */
export interface ListedMessages {
  list(shard: number, list: MessageList, fromMs: number, offset: number, count: number): Promise<readonly string[]>;
  pull(shard: number, laterThanMs: number, limit: number): Promise<{ readonly pulled: number; readonly left: number }>;
  count(shard: number): Promise<MessageCounts>;
}

export interface TopicStore {
  /** @returns an empty text if there is no such topic */
  readTopic(topic: string): Promise<string>;
  changeTopic(topic: string, expected: string, value: string): Promise<ChangeTopicAnswer>;
}

export interface FoundMessage extends StoredMessage {
  readonly gid: string;
}

export interface Page {
  readonly messages: readonly FoundMessage[];
  /** gids of messages that are there and cannot be read */
  readonly unreadable: readonly string[];
  /** where the next page begins; empty after the last */
  readonly next: string;
}

export interface PageRequest {
  readonly list: MessageList;
  /** `next` of the page before; empty for the first */
  readonly position: string;
  readonly limit: number;
  readonly fromMs: number;
  readonly wanted: (record: MessageRecord) => boolean;
}

/** How a submit that waits for its result came out. */
export const Waited = { succeed: "succeed", failed: "failed", ongoing: "ongoing" } as const;
export type Waited = (typeof Waited)[keyof typeof Waited];

const REMEMBERED_MOST = 10_000;
const REMEMBERED_CHARS_MOST = 4_096;
/** Each move of a new message's place leads to a shorter list, or follows a new look at the notes. */
const MOVES_MOST = 10;
const LOOK_AGAIN_MS = 20;
/** Looked at by one page at most: a rare status in a long list must not hold the server. */
const SCANNED_MOST = 10_000;
const POSITION = /^(\d{1,4})\.(\d{1,12})$/;

/** The calls of the API on messages, wherever they live; knows nothing of HTTP. */
export class Messages {
  readonly #store: MessageStore & ListedMessages;
  readonly #placement: Placement;
  readonly #policy: MessagePolicy;
  readonly #clock: Clock;
  readonly #kick: (shard: number, gid: string, applied: AppliedEvent) => void;
  /** prepared here a moment ago, so that the submit that follows needs one round trip; may be old, the store corrects it */
  readonly #remembered = new Map<string, { readonly shard: number; readonly record: MessageRecord }>();

  constructor(parts: {
    readonly store: MessageStore & ListedMessages;
    readonly placement: Placement;
    readonly policy: MessagePolicy;
    readonly clock: Clock;
    /** does at once what follows from an event, if this process may */
    readonly kick: (shard: number, gid: string, applied: AppliedEvent) => void;
  }) {
    this.#store = parts.store;
    this.#placement = parts.placement;
    this.#policy = parts.policy;
    this.#clock = parts.clock;
    this.#kick = parts.kick;
  }

  /** Decides about an event, wherever the message is. */
  async handle(gid: string, event: MessageEvent): Promise<AppliedEvent> {
    const creates = event.type === "prepare" || (event.type === "submit" && event.definition !== undefined);
    // only for events that change a prepared message: the store then notices what is old; a refusal would not be checked
    const changes = event.type === "submit" || event.type === "abort";
    const known =
      (changes ? this.#remembered.get(gid) : undefined) ?? (creates && !this.#placement.mixed() ? undefined : await this.#locate(gid));
    if (known === undefined && creates) return this.#create(gid, event);
    const shard = known?.shard ?? this.#placement.home(gid);
    return this.#passOn(shard, gid, await applyEvent(this.#store, this.#policy, shard, gid, event, known?.record));
  }

  /** Stores a new message at its place; follows where another coordinator, of another list of shards, says that it is. */
  async #create(gid: string, event: MessageEvent): Promise<AppliedEvent> {
    let place = this.#placement.place(gid);
    for (let moved = 0; moved < MOVES_MOST; moved += 1) {
      const claimed = await this.#claim(gid, place);
      const applied =
        claimed.misplaced === undefined
          ? await applyEvent(this.#store, this.#policy, claimed.shard, gid, event, claimed.found, place.untilMs)
          : undefined;
      const misplaced = claimed.misplaced ?? applied?.misplaced;
      if (misplaced === undefined) return this.#passOn(claimed.shard, gid, applied as AppliedEvent);
      if (misplaced.status === "late") await this.#placement.refresh();
      place = misplaced.status === "elsewhere" ? this.#placement.place(gid, misplaced.count) : this.#placement.place(gid);
    }
    throw new Error(`message ${gid}: no shard took it in ${MOVES_MOST} tries`);
  }

  /** Gives up the places that others may take for it, unless it is at one of them. */
  async #claim(
    gid: string,
    { shard, count, yields }: Place,
  ): Promise<{ readonly shard: number; readonly found: MessageRecord | undefined; readonly misplaced?: Misplaced }> {
    for (const other of yields) {
      const answer = await this.#store.yield(other, gid, count);
      if (answer.status === "exists") return { shard: other, found: answer.record };
      if (answer.status !== "ok") return { shard, found: undefined, misplaced: answer };
    }
    return { shard, found: undefined };
  }

  #passOn(shard: number, gid: string, applied: AppliedEvent): AppliedEvent {
    this.#remember(gid, shard, applied.record);
    this.#kick(shard, gid, applied);
    return applied;
  }

  /** Waits until the round of deliveries that a submit began is over, wherever it runs. */
  async waitRound(gid: string, submitted: MessageRecord, boundMs: number): Promise<Waited> {
    const untilMs = this.#clock.monotonicMs() + boundMs;
    for (;;) {
      const now = (await this.#locate(gid))?.record;
      if (now === undefined) return Waited.ongoing;
      if (isFinished(now.state)) return now.state === MessageState.succeed ? Waited.succeed : Waited.failed;
      if (now.rounds > submitted.rounds || this.#clock.monotonicMs() >= untilMs) return Waited.ongoing;
      await this.#clock.sleep(LOOK_AGAIN_MS);
    }
  }

  async find(gid: string): Promise<FoundMessage | undefined> {
    const found = await this.#locate(gid);
    return found === undefined ? undefined : { gid, record: found.record, dueAtMs: found.dueAtMs };
  }

  /**
   * A page of a list, shard by shard, oldest first. @returns undefined if the position is none of ours
   */
  async page(request: PageRequest): Promise<Page | undefined> {
    const match = request.position === "" ? ["", "0", "0"] : POSITION.exec(request.position);
    if (match === null) return undefined;
    let [shard, offset] = [Number(match[1]), Number(match[2])];
    const messages: FoundMessage[] = [];
    const unreadable: string[] = [];
    for (let scanned = 0; shard < this.#placement.shards.length;) {
      const count = Math.min(Math.max(request.limit - messages.length, 1), 1_000);
      const gids = await this.#store.list(shard, request.list, request.fromMs, offset, count);
      for (const [i, message] of (await this.#store.read(shard, gids)).entries()) {
        const gid = gids[i] as string;
        if (message instanceof CorruptMessage) unreadable.push(gid);
        else if (message !== undefined && request.wanted(message.record)) messages.push({ gid, ...message });
      }
      offset += gids.length;
      scanned += gids.length;
      if (gids.length < count) [shard, offset] = [shard + 1, 0];
      if (messages.length >= request.limit || scanned >= SCANNED_MOST) break;
    }
    return { messages, unreadable, next: shard < this.#placement.shards.length ? `${shard}.${offset}` : "" };
  }

  /** Makes up to `limit` messages due now that are due later than `laterThanMs` from now. */
  async pull(laterThanMs: number, limit: number): Promise<{ readonly pulled: number; readonly left: number }> {
    let [pulled, left] = [0, 0];
    for (const shard of this.#placement.shards) {
      const most = limit - pulled;
      const answer =
        most > 0
          ? await this.#store.pull(shard, laterThanMs, most)
          : await this.#store.count(shard).then(({ waiting }) => ({ pulled: 0, left: waiting }));
      pulled += answer.pulled;
      left += answer.left;
    }
    return { pulled, left };
  }

  /** Summed over the shards that answer. */
  async counts(): Promise<MessageCounts> {
    const all = await Promise.allSettled(this.#placement.shards.map((shard) => this.#store.count(shard)));
    const sum = { waiting: 0, dead: 0, all: 0 };
    for (const answer of all) {
      if (answer.status !== "fulfilled") continue;
      sum.waiting += answer.value.waiting;
      sum.dead += answer.value.dead;
      sum.all += answer.value.all;
    }
    return sum;
  }

  /** At home first, then on the other shards. */
  async #locate(gid: string): Promise<(StoredMessage & { readonly shard: number }) | undefined> {
    const home = this.#placement.home(gid);
    const atHome = await this.#readAt(home, gid);
    if (atHome !== undefined) return atHome;
    const elsewhere = await Promise.all(this.#placement.others(home).map((shard) => this.#readAt(shard, gid)));
    return elsewhere.find((message) => message !== undefined);
  }

  async #readAt(shard: number, gid: string): Promise<(StoredMessage & { readonly shard: number }) | undefined> {
    const [message] = await this.#store.read(shard, [gid]);
    if (message instanceof CorruptMessage) throw message;
    return message === undefined ? undefined : { shard, ...message };
  }

  #remember(gid: string, shard: number, record: MessageRecord | undefined): void {
    const chars = record?.definition.branches.reduce((sum, branch) => sum + branch.payload.length, 0) ?? 0;
    if (record?.state !== MessageState.prepared || chars > REMEMBERED_CHARS_MOST) {
      this.#remembered.delete(gid);
      return;
    }
    this.#remembered.set(gid, { shard, record });
    if (this.#remembered.size <= REMEMBERED_MOST) return;
    const oldest = this.#remembered.keys().next();
    if (oldest.done !== true) this.#remembered.delete(oldest.value);
  }
}
