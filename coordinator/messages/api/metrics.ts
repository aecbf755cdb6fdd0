import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { MessageCounts } from "#lua/message/message-read";

/** What the message service counts; on the registry of whoever runs it. */
export interface MessageMetrics {
  readonly answers: Counter<"call" | "status">;
  readonly duration: Histogram<"call">;
  readonly calls: Counter<"kind" | "verdict">;
  readonly dead: Counter;
  readonly troubles: Counter;
}

export const messageMetrics = (
  registry: Registry,
  facts: { readonly counts: () => Promise<MessageCounts>; readonly inFlight: () => number },
): MessageMetrics => {
  const registers = [registry];
  const stored = new Gauge({
    name: "doorbuster_messages",
    help: "Messages stored: waiting for something, dead letters, all",
    labelNames: ["kind"],
    registers,
    async collect() {
      const { waiting, dead, all } = await facts.counts();
      this.set({ kind: "waiting" }, waiting);
      this.set({ kind: "dead" }, dead);
      this.set({ kind: "all" }, all);
    },
  });
  const inFlight = new Gauge({
    name: "doorbuster_messages_in_flight",
    help: "Messages that this process works on now",
    registers,
    collect() {
      this.set(facts.inFlight());
    },
  });
  stored.set({ kind: "waiting" }, 0);
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
