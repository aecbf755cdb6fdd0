import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseOrderId } from "#protocol/order-id";
import { sampler } from "#program/tracing/sample";
import { environment, StackWorld, until } from "../harness/index.ts";
import { OtlpCollector, type CollectedSpan } from "../harness/otlp-collector.ts";

/** A sale whose programs send spans of a third of the purchases to a collector, and nothing of the others. */
const UNITS = 120;
const SHARE = 1 / 3;

let world: StackWorld;
let collector: OtlpCollector;
beforeAll(async () => {
  collector = await OtlpCollector.open();
  world = await StackWorld.start({
    shards: 2,
    redis: 2,
    environment: { ...environment, DOORBUSTER_TRACE_URL: collector.url, DOORBUSTER_TRACE_SHARE: String(SHARE) },
  });
}, 180_000);
afterAll(async () => {
  await world?.close();
  await collector?.close().catch(() => undefined);
});

const of = (service: string): readonly CollectedSpan[] => collector.spans.filter((span) => span.service === `doorbuster-${service}`);
const linkedWith = (spans: readonly CollectedSpan[], order: string): readonly CollectedSpan[] =>
  spans.filter(({ links }) => links.some((link) => link.order === order));

/** As a buyer's client sends it. */
const traceparentOf = (n: number): string => `00-${(n + 1).toString(16).padStart(32, "a")}-${(n + 1).toString(16).padStart(16, "b")}-01`;

describe("the spans of a sale", { timeout: 120_000 }, () => {
  it("are of every sampled purchase, by gateway, coordinator and worker, linked; and of no other", async () => {
    await world.openStocked("traced", UNITS);
    const answers = await Promise.all(
      Array.from({ length: UNITS + 20 }, (_, n) =>
        world.buy("traced", `u${n}`, {
          ...(n % 4 === 0 ? { prefer: "wait=5" } : {}),
          traceparent: n % 2 === 0 ? traceparentOf(n) : "00-xyz",
        }),
      ),
    );
    const won = answers.flatMap(({ orderId }) => (orderId === undefined ? [] : [orderId]));
    expect(won).toHaveLength(UNITS);
    // asked again they are told the same, and are no purchase
    await Promise.all(Array.from({ length: 20 }, (_, n) => world.buy("traced", `u${n}`)));
    await world.auditAtRest("traced");

    const isSampled = sampler(SHARE);
    const sampled = won.filter((order) => isSampled(parseOrderId(order) as NonNullable<ReturnType<typeof parseOrderId>>)).sort();
    expect(sampled.length).toBeGreaterThan(0);
    expect(sampled.length).toBeLessThan(UNITS);
    const decided = (): readonly CollectedSpan[] => of("gateway").filter(({ name }) => name === "decide purchase");
    const isTold = (order: string): boolean =>
      decided().some(({ attributes }) => attributes["doorbuster.order"] === order) &&
      linkedWith(of("coordinator"), order).length > 0 &&
      linkedWith(of("workers"), order).length > 0;
    await until(() => sampled.every(isTold), "every sampled purchase's spans", 20_000);

    expect(
      decided()
        .map(({ attributes }) => String(attributes["doorbuster.order"]))
        .sort(),
    ).toEqual(sampled);
    for (const order of sampled) {
      const purchase = decided().find(({ attributes }) => attributes["doorbuster.order"] === order);
      const [append] = linkedWith(of("coordinator"), order);
      const applies = linkedWith(of("workers"), order);
      expect(applies, `applied once: ${order}`).toHaveLength(1);
      for (const { links } of [append as CollectedSpan, applies[0] as CollectedSpan])
        expect(links).toContainEqual({ order, traceId: purchase?.traceId, spanId: purchase?.spanId });
      // the worker's is in the trace of the record that the coordinator appended, beneath it
      expect([applies[0]?.traceId, applies[0]?.parentSpanId]).toEqual([append?.traceId, append?.spanId]);
      const { shard, epoch, seq } = parseOrderId(order) as NonNullable<ReturnType<typeof parseOrderId>>;
      for (const span of [append, applies[0]]) {
        expect(span?.attributes).toMatchObject({ "doorbuster.shard": shard, "doorbuster.epoch": epoch });
        expect(Number(span?.attributes["doorbuster.seq"])).toBeGreaterThanOrEqual(seq);
      }
      // the buyer's own span, where his client named one, and nothing where it named none that is one
      const n = answers.findIndex(({ orderId }) => orderId === order);
      const named = traceparentOf(n).split("-");
      expect(purchase?.links.map((link) => [link.traceId, link.spanId])).toEqual(n % 2 === 0 ? [[named[1], named[2]]] : []);
      expect(append?.attributes["doorbuster.stream_seq"]).toBe(applies[0]?.attributes["doorbuster.stream_seq"]);
    }
    const linked = [...of("coordinator"), ...of("workers")].flatMap(({ links }) => links.map(({ order }) => order));
    expect([...new Set(linked)].sort()).toEqual(sampled);
    for (const { name, attributes, parentSpanId } of of("gateway")) {
      if (name === "decide purchase") continue;
      const purchase = decided().find((span) => span.attributes["doorbuster.order"] === attributes["doorbuster.order"]);
      expect([name, attributes["doorbuster.code"], parentSpanId]).toEqual(["wait for the final answer", "confirmed", purchase?.spanId]);
    }
    for (const { startNs, endNs } of collector.spans) expect(endNs >= startNs).toBe(true);
    expect(collector.faults).toEqual([]);
  });

  it("cost spans and nothing else when the collector is away", async () => {
    await collector.close();
    await world.openStocked("untraced", 10);
    const answers = await Promise.all(Array.from({ length: 12 }, (_, n) => world.buy("untraced", `v${n}`)));
    expect(answers.filter(({ orderId }) => orderId !== undefined)).toHaveLength(10);
    expect(await world.auditAtRest("untraced")).toMatchObject({ sold: 10 });
  });
});
