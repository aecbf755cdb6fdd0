import { setTimeout as delay } from "node:timers/promises";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { MessageCounts } from "#lua/message/message-read";

/** A shard that hangs must not keep a scrape from all the other numbers: then these are those of an earlier look. */
const COUNTED_WITHIN_MS = 250;

/** What the message service counts; on the registry of whoever runs it. */
export interface MessageMetrics {
  readonly answers: Counter<"call" | "status">;
  readonly duration: Histogram<"call">;
  readonly calls: Counter<"kind" | "verdict">;
  readonly dead: Counter;
  readonly troubles: Counter;
}

const KINDS = ["waiting", "dead", "all"] as const satisfies readonly (keyof MessageCounts)[];

const storedGauge = (registers: Registry[], counts: () => Promise<MessageCounts>): void => {
  let counting: Promise<void> | undefined;
  const stored = new Gauge({
    name: "doorbuster_messages",
    help: "Messages stored: waiting for something, dead letters, all",
    labelNames: ["kind"],
    registers,
    async collect() {
      counting ??= counts()
        .then((found) => {
          for (const kind of KINDS) stored.set({ kind }, found[kind]);
        })
        .finally(() => {
          counting = undefined;
        });
      await Promise.race([counting, delay(COUNTED_WITHIN_MS, undefined, { ref: false })]);
    },
  });
  for (const kind of KINDS) stored.set({ kind }, 0);
};

export const messageMetrics = (
  registry: Registry,
  facts: { readonly counts: () => Promise<MessageCounts>; readonly inFlight: () => number },
): MessageMetrics => {
  const registers = [registry];
  storedGauge(registers, facts.counts);
  const inFlight = new Gauge({
    name: "doorbuster_messages_in_flight",
    help: "Messages that this process works on now",
    registers,
    collect() {
      this.set(facts.inFlight());
    },
  });
  inFlight.set(0);
  return {
    answers: new Counter({
      name: "doorbuster_message_api_answers_total",
      help: "Answers of the message API, by call and status",
      labelNames: ["call", "status"],
      registers,
    }),
    duration: new Histogram({
      name: "doorbuster_message_api_seconds",
      help: "Time to answer a call of the message API",
      labelNames: ["call"],
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5],
      registers,
    }),
    calls: new Counter({
      name: "doorbuster_message_calls_total",
      help: "Calls of branches and query-backs, by verdict",
      labelNames: ["kind", "verdict"],
      registers,
    }),
    dead: new Counter({ name: "doorbuster_message_dead_letters_total", help: "Messages that became dead letters", registers }),
    troubles: new Counter({
      name: "doorbuster_message_troubles_total",
      help: "Times that a store or the alert hook did not answer",
      registers,
    }),
  };
};
