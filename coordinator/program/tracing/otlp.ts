import {
  diag,
  DiagLogLevel,
  ROOT_CONTEXT,
  SpanKind,
  trace,
  TraceFlags,
  type Context,
  type Link,
  type SpanContext,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { AlwaysOnSampler, BatchSpanProcessor, TracerProvider, type IdGenerator } from "@opentelemetry/sdk-trace";
import type { Log } from "#program/log";
import { rarely } from "#program/rarely";
import { systemClock } from "#program/system";
import { purchaseIds, type SpanIds } from "./sample.ts";
import type { EndedSpan, SpanSink } from "./tracing.ts";

/** A collector that is away must not hold a process that stops, nor its memory. */
const EXPORT_WITHIN_MS = 3_000;
const EXPORT_EVERY_MS = 1_000;
const QUEUE_MOST = 4_096;
/** A record of the log has at most 512 orders; the library's own bound is 128. */
const LINKS_MOST = 512;

export interface OtlpOptions {
  /** becomes `service.name`, as `doorbuster-<program>` */
  readonly program: string;
  /** of the collector, with the path: http://collector:4318/v1/traces */
  readonly url: string;
  readonly log: Log;
}

/** Gives the next span the ids that it has to have: they are made of positions, and the same in every process. */
class GivenIds implements IdGenerator {
  next: SpanIds = { traceId: "", spanId: "" };
  generateTraceId = (): string => this.next.traceId;
  generateSpanId = (): string => this.next.spanId;
}

const contextOf = (ids: SpanIds): SpanContext => ({ ...ids, traceFlags: TraceFlags.SAMPLED, isRemote: true });
const linkOf = (order: string): Link => ({ context: contextOf(purchaseIds(order)), attributes: { "doorbuster.order": order } });
const under = (parent: SpanIds | undefined): Context =>
  parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, contextOf(parent));

/** Sends spans to a collector by OTLP over HTTP (JSON), in batches beside everything else. */
export const otlpSink = ({ program, url, log }: OtlpOptions): SpanSink => {
  const isNews = rarely(systemClock);
  const complain = (message: string, ...parts: unknown[]): void => {
    const news = isNews("tracing", message);
    if (news !== undefined) log.warn({ detail: parts.map(String).join(" "), ...news }, `spans are lost: ${message}`);
  };
  const nothing = (): void => undefined;
  diag.setLogger({ error: complain, warn: complain, info: nothing, debug: nothing, verbose: nothing }, DiagLogLevel.WARN);
  const ids = new GivenIds();
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": `doorbuster-${program}`, "process.pid": process.pid }),
    sampler: new AlwaysOnSampler(),
    idGenerator: ids,
    spanLimits: { linkCountLimit: LINKS_MOST },
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: new OTLPTraceExporter({ url, timeoutMillis: EXPORT_WITHIN_MS }),
        maxQueueSize: QUEUE_MOST,
        scheduledDelayMillis: EXPORT_EVERY_MS,
        exportTimeoutMillis: EXPORT_WITHIN_MS,
      }),
    ],
  });
  const tracer = provider.getTracer("doorbuster");
  return {
    send: ({ name, ids: given, parent, orders = [], others = [], startMs, endMs, attributes }: EndedSpan) => {
      ids.next = given;
      const links = [...orders.map(linkOf), ...others.map((other) => ({ context: contextOf(other) }))];
      tracer.startSpan(name, { kind: SpanKind.INTERNAL, startTime: startMs, links, attributes }, under(parent)).end(endMs);
    },
    close: () => provider.shutdown().catch((error: unknown) => complain("the last could not be sent", error)),
  };
};
