import type { ChangeTopicAnswer } from "#lua/message/message-topic";
import type { TopicStore } from "./messages.ts";

export interface Subscriber {
  readonly url: string;
  readonly remark: string;
}

/** What a change of a topic came to; a refusal says why, in dtm's words. */
export type TopicAnswer = { readonly ok: true } | { readonly ok: false; readonly message: string };

const RACES_MOST = 20;
const done: TopicAnswer = { ok: true };
const refused = (message: string): TopicAnswer => ({ ok: false, message });

const parse = (value: string): readonly Subscriber[] => (value === "" ? [] : (JSON.parse(value) as Subscriber[]));

/**
 * Names under which several URLs receive one step. They are kept on shard 0's Redis, beside the messages that need
 * them and as durable (`appendfsync always`; JetStream's file store syncs every two minutes by default), and every
 * list of shards has a shard 0. They are read when a message is stored, which then holds the URLs of that moment.
 */
export class Topics {
  readonly #store: TopicStore;

  constructor(store: TopicStore) {
    this.#store = store;
  }

  async subscribers(topic: string): Promise<readonly Subscriber[]> {
    return parse(await this.#store.readTopic(topic));
  }

  subscribe(topic: string, subscriber: Subscriber): Promise<TopicAnswer> {
    return this.#change(topic, (before) => {
      if (before.some((other) => other.url === subscriber.url)) return "this url exists";
      return [...before, subscriber];
    });
  }

  unsubscribe(topic: string, url: string): Promise<TopicAnswer> {
    return this.#change(topic, (before) => {
      if (before.length === 0) return "no such topic";
      const after = before.filter((other) => other.url !== url);
      return after.length === before.length ? "no such url" : after;
    });
  }

  delete(topic: string): Promise<TopicAnswer> {
    return this.#change(topic, (before) => (before.length === 0 ? "no such topic" : []));
  }

  async #change(topic: string, decide: (before: readonly Subscriber[]) => readonly Subscriber[] | string): Promise<TopicAnswer> {
    let expected = await this.#store.readTopic(topic);
    for (let race = 0; race < RACES_MOST; race += 1) {
      const after = decide(parse(expected));
      if (typeof after === "string") return refused(after);
      const value = after.length === 0 ? "" : JSON.stringify(after);
      const answer: ChangeTopicAnswer = await this.#store.changeTopic(topic, expected, value);
      if (answer.status === "ok") return done;
      expected = answer.value;
    }
    throw new Error(`topic ${topic}: others changed it first ${RACES_MOST} times in a row`);
  }
}
