import { Counter, type Registry } from "prom-client";
import type { Log } from "#program/log";
import { rarely } from "#program/rarely";
import type { Clock } from "#protocol/ports";
import type { BuyPorts } from "./buy/service-ports.ts";

/** What an operator has to do something about, by the first word of Redis's error. Others (LOADING, MOVED ...) pass by themselves. */
const CAUSES: Readonly<Record<string, string>> = {
  OOM: "maxmemory is reached",
  MISCONF: "it cannot write its append-only file or snapshot: look at its disk",
  NOREPLICAS: "fewer replicas than min-replicas-to-write are there",
  NOAUTH: "this gateway has no password for it",
  NOPERM: "its ACL forbids this gateway what it needs",
};

/** What `/readyz` says of a shard whose server refuses purchases. */
export const refusalText = (shard: number, by: string): string =>
  `shard ${shard}: Redis refused the last purchases (${by})${CAUSES[by] === undefined ? "" : `: ${CAUSES[by]}`}`;

/** Counts the batches that a shard's server refused, and logs them rarely. */
export const countStoreRefusals = (registry: Registry, log: Log, clock: Clock): BuyPorts["onRefused"] => {
  const refusals = new Counter({
    name: "doorbuster_gateway_redis_refusals_total",
    help: "Batches of purchases that a shard's Redis refused before they began, by the first word of its error; nothing was taken. OOM: it is full. Alert on OOM, MISCONF, NOREPLICAS, NOAUTH, NOPERM",
    labelNames: ["shard", "error"] as const,
    registers: [registry],
  });
  const isNews = rarely(clock);
  return (shard, by) => {
    refusals.inc({ shard: String(shard), error: by });
    const news = isNews(`shard ${shard}`, by);
    if (news === undefined) return;
    const cause = CAUSES[by];
    if (cause === undefined) log.warn({ shard, error: by, ...news }, "Redis refuses purchases: buyers are answered recovering");
    else log.error({ alert: true, shard, error: by, cause, ...news }, "Redis refuses purchases: it has to be looked at");
  };
};
