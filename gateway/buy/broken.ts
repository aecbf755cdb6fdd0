import type { Registry } from "prom-client";
import { brokenCounter, type OnBroken } from "#program/findings";
import type { Log } from "#program/log";
import { rarely } from "#program/rarely";
import type { Clock } from "#protocol/ports";

/** Counts and logs (each finding rarely: every batch may meet it); the process goes on. */
export const countBroken = (registry: Registry, log: Log, clock: Clock): OnBroken => {
  const broken = brokenCounter("doorbuster_gateway_broken_total", registry);
  const isNews = rarely(clock);
  return (error) => {
    broken.inc({ invariant: error.invariant });
    if (!isNews(error.place, error.message)) return;
    log.error({ alert: true, err: error }, "found what may not be, and refused to go on from it");
  };
};
