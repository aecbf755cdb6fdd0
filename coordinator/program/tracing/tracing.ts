import { EntryKind, type Entry } from "#lua/shard/entry";
import { formatOrderId, type OrderId } from "#protocol/order-id";
import type { Config } from "#program/config";
import type { Log } from "#program/log";
import { sampler, type SpanIds } from "./sample.ts";

export const TRACE_SETTINGS = ["DOORBUSTER_TRACE_URL", "DOORBUSTER_TRACE_SHARE"] as const;
export type TraceConfig = Config<(typeof TRACE_SETTINGS)[number]>;

/** A span that has ended. Times are ms since 1970. */
export interface EndedSpan {
  readonly name: string;
  readonly ids: SpanIds;
  readonly parent?: SpanIds;
  /** order ids whose purchases' spans it is linked with */
  readonly orders?: readonly string[];
  /** other spans that it is linked with */
  readonly others?: readonly SpanIds[];
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string | number>>;
}

/** Where spans go. */
export interface SpanSink {
  /** returns at once; a collector that is away costs spans and nothing else */
  send(span: EndedSpan): void;
  /** sends what waits, for a bounded time */
  close(): Promise<void>;
}

/** Tracing that is on. What is not traced has no part in it: whoever has no Tracing runs without a wrapper of it. */
export interface Tracing extends SpanSink {
  isSampled(order: OrderId): boolean;
  /** the sampled orders among a shard's entries of one epoch */
  sampledOrders(shard: number, epoch: number, entries: readonly Entry[]): readonly string[];
  nowMs(): number;
}

const tracingTo = (sink: SpanSink, share: number, nowMs: () => number): Tracing => {
  const isSampled = sampler(share);
  return {
    ...sink,
    nowMs,
    isSampled,
    sampledOrders: (shard, epoch, entries) => {
      const orders: string[] = [];
      for (const entry of entries) {
        if (entry.kind !== EntryKind.order) continue;
        for (let index = 0; index < entry.count; index += 1) {
          const order = { shard, epoch, seq: entry.seq, index };
          if (isSampled(order)) orders.push(formatOrderId(order));
        }
      }
      return orders;
    },
  };
};

/**
 * @param program gateway, coordinator or workers
 * @returns undefined if tracing is off; then nothing of OpenTelemetry is loaded
 */
export const openTracing = async (program: string, config: TraceConfig, log: Log): Promise<Tracing | undefined> => {
  const { DOORBUSTER_TRACE_URL: url, DOORBUSTER_TRACE_SHARE: share } = config;
  if (url === undefined || share === 0) return undefined;
  const { otlpSink } = await import("./otlp.ts");
  log.info({ share, url: new URL(url).origin }, "purchases are traced");
  return tracingTo(otlpSink({ program, url, log }), share, () => performance.timeOrigin + performance.now());
};

export { appliedIds, purchaseIds, recordIds, type SpanIds } from "./sample.ts";
