import { purchaseIds, type SpanIds, type Tracing } from "#program/tracing/tracing";
import { parseOrderId } from "#protocol/order-id";
import type { BuyService } from "./buy/service.ts";
import type { Outcome } from "./buy/outcome.ts";

/** Under the purchase's span: how long its buyer waited for the final answer. */
const waitIds = (orderId: string): SpanIds => ({
  traceId: purchaseIds(orderId).traceId,
  spanId: purchaseIds(`${orderId} wait`).spanId,
});

/** Of version 00 (https://www.w3.org/TR/trace-context/): ids of zeros are none. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}$/;

/** The span by which a buyer's client names its own trace. */
const buyersSpan = (traceparent: string | undefined): readonly SpanIds[] => {
  const match = TRACEPARENT.exec(traceparent ?? "");
  return match === null ? [] : [{ traceId: match[1] as string, spanId: match[2] as string }];
};

/**
 * The service with a span for each sampled purchase: from the request until the decision, and another until its final
 * answer. The purchase's is linked with the buyer's own span; it is not beneath that, because its ids are made of the order. Only who traces has it in between. A repeat is no purchase and has no span.
 */
export const tracedService = (service: BuyService, tracing: Tracing): BuyService => {
  const attributes = (orderId: string, { code, units }: Outcome): Record<string, string | number> => ({
    "doorbuster.order": orderId,
    "doorbuster.code": code,
    ...(units === undefined ? {} : { "doorbuster.units": units }),
  });
  const isSampled = (orderId: string): boolean => {
    const order = parseOrderId(orderId);
    return order !== undefined && tracing.isSampled(order);
  };
  const decided = (outcome: Outcome, startMs: number, traceparent: string | undefined): void => {
    const { orderId, repeat } = outcome;
    if (orderId === undefined || repeat === true || !isSampled(orderId)) return;
    const span = { ids: purchaseIds(orderId), others: buyersSpan(traceparent), attributes: attributes(orderId, outcome) };
    tracing.send({ name: "decide purchase", ...span, startMs, endMs: tracing.nowMs() });
  };
  return {
    buy: (request, onOutcome) => {
      const startMs = tracing.nowMs();
      // the request may be gone when it is decided
      const { traceparent } = request;
      service.buy(request, (outcome) => {
        onOutcome(outcome);
        decided(outcome, startMs, traceparent);
      });
    },
    waitFinal: (ticket, key, orderId, onFinal) => {
      if (!isSampled(orderId)) return service.waitFinal(ticket, key, orderId, onFinal);
      const startMs = tracing.nowMs();
      return service.waitFinal(ticket, key, orderId, (outcome) => {
        onFinal(outcome);
        const span = { ids: waitIds(orderId), parent: purchaseIds(orderId), attributes: attributes(orderId, outcome) };
        tracing.send({ name: "wait for the final answer", ...span, startMs, endMs: tracing.nowMs() });
      });
    },
    refusal: (ticket) => service.refusal(ticket),
    standing: (request, onOutcome) => service.standing(request, onOutcome),
    watchBuyer: (saleId, uid, onPush) => service.watchBuyer(saleId, uid, onPush),
    saleView: (saleId) => service.saleView(saleId),
    readRefusal: (reader) => service.readRefusal(reader),
    searchRefusal: (reader) => service.searchRefusal(reader),
    findSale: (saleId, done) => service.findSale(saleId, done),
    isReady: () => service.isReady(),
    refusing: () => service.refusing(),
    drain: () => service.drain(),
  };
};
