import { AggregatorRegistry, collectDefaultMetrics, Counter, Gauge, type Registry } from "prom-client";
import type { ClusterMetricNames } from "#program";
import type { Door } from "./http/door.ts";
import type { Mounted } from "./plugin.ts";

/** What the primary counts itself. */
export const CLUSTER_METRICS = {
  ready: "doorbuster_gateway_processes_ready",
  restarts: "doorbuster_gateway_restarts",
  complete: "doorbuster_gateway_scrape_complete",
  violations: "doorbuster_gateway_invariant_violations_total",
} as const satisfies ClusterMetricNames;

/** Makes this process answer the primary's question for its metrics, with what prom-client knows of every Node.js process. */
export const answerScrapes = (): void => {
  void new AggregatorRegistry();
  collectDefaultMetrics();
};

/** What a process's door counts. */
export const measureDoor = (registry: Registry, door: Pick<Door, "isAccepting" | "timesFull">): void => {
  const registers = [registry];
  const accepting = new Gauge({
    name: "doorbuster_gateway_accepting",
    help: "Processes that accept connections; the others have no file descriptor left, or are stopping",
    registers,
    collect() {
      accepting.set(door.isAccepting ? 1 : 0);
    },
  });
  const full = new Counter({
    name: "doorbuster_gateway_full_total",
    help: "Times that a process stopped accepting connections because it had no file descriptor left",
    registers,
    collect() {
      full.reset();
      full.inc(door.timesFull);
    },
  });
};

/** What a mount counts: its answers, whom it holds. */
export const measureMounted = (registry: Registry, mounted: Pick<Mounted, "answered" | "addressDoubts" | "waiting" | "sockets">): void => {
  const registers = [registry];
  const answers = new Counter({
    name: "doorbuster_gateway_answers_total",
    help: "Answers given, by channel and code; a held answer counts as what it became",
    labelNames: ["channel", "code"],
    registers,
    collect() {
      answers.reset();
      for (const [channel, counts] of Object.entries(mounted.answered))
        for (const [code, count] of Object.entries(counts)) answers.inc({ channel, code }, count);
    },
  });
  const doubts = new Counter({
    name: "doorbuster_gateway_address_doubts_total",
    help: "Requests that may be counted to another address than their buyer's. untrusted: DOORBUSTER_TRUSTED_PROXIES does not name who forwarded them; untold: a proxy that it names does not say whose they are. Behind such a proxy all buyers share one address bucket",
    labelNames: ["doubt"],
    registers,
    collect() {
      doubts.reset();
      for (const [doubt, count] of Object.entries(mounted.addressDoubts)) doubts.inc({ doubt }, count);
    },
  });
  const open = new Gauge({
    name: "doorbuster_gateway_open",
    help: "Requests without an answer yet, and open WebSockets",
    labelNames: ["kind"],
    registers,
    collect() {
      open.set({ kind: "requests" }, mounted.waiting());
      open.set({ kind: "sockets" }, mounted.sockets());
    },
  });
};

/** Counts what broke while requests were handled. */
export const faultCounter = (registry: Registry): Counter =>
  new Counter({
    name: "doorbuster_gateway_faults_total",
    help: "Requests answered 500 and frames that broke their socket: a fault of ours; the log has each. They are no outcome",
    registers: [registry],
  });

/** What the primary found out about the build of uWebSockets.js that all its processes run. */
export const parserGauge = (registry: Registry): Gauge =>
  new Gauge({
    name: "doorbuster_gateway_parser_takes_parts",
    help: "1 if this build of uWebSockets.js answers a request line that arrives in two parts, 0 if it answers 505; missing if that is not known",
    registers: [registry],
  });
