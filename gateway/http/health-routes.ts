import type { BuyService } from "../buy/service.ts";
import { refusals } from "../buy/outcome.ts";
import { refusalText } from "../store-refusals.ts";
import { makeAnswer, type Answer } from "./answer.ts";
import type { Edge } from "./exchange.ts";
import { problem } from "./problem.ts";
import type { Route } from "./route.ts";

const plain = { "Content-Type": "application/json", "Cache-Control": "no-store" } as const;

/**
 * `/healthz`: this process answers. `/readyz`: it can sell; a balancer should send buyers elsewhere while it says 503. What
 * elsewhere is no better (a shard whose Redis is full) is said in the 200, for people.
 */
export const healthRoutes = (prefix: string, service: BuyService, edge: Edge): readonly Route[] => {
  const alive = makeAnswer(200, plain, '{"status":"alive"}');
  const ready = makeAnswer(200, plain, '{"status":"ready"}');
  /** Ready all the same: what is wrong is the settings', and sending buyers elsewhere would not mend it. */
  const readyBut = (detail: string): Answer => makeAnswer(200, plain, JSON.stringify({ status: "ready", detail }));
  const unready = problem({ ...refusals.recovering, detail: "This gateway process is starting or stopping." });
  return [
    { pattern: `${prefix}/healthz`, pages: "all", get: (exchange) => exchange.answer(alive) },
    {
      pattern: `${prefix}/readyz`,
      pages: "all",
      get: (exchange) => {
        if (!service.isReady() || edge.stopping) return exchange.answer(unready);
        const doubt = edge.clients.latestDoubt();
        const details = [
          ...(doubt === undefined ? [] : [doubt]),
          ...Array.from(service.refusing(), ([shard, by]) => refusalText(shard, by)),
        ];
        exchange.answer(details.length === 0 ? ready : readyBut(details.join("; ")));
      },
    },
  ];
};
