import { purchaseIds, type Tracing } from "#program/tracing/tracing";
import { parseOrderId } from "#protocol/order-id";
import type { BuyService } from "./buy/service.ts";
import type { Outcome } from "./buy/outcome.ts";

/** Under the purchase's span: how long its buyer waited for the final answer. */
const waitIds = (orderId: string): { traceId: string; spanId: string } => ({
  traceId: purchaseIds(orderId).traceId,
  spanId: purchaseIds(`${orderId} wait`).spanId,
});

/**
 * The service with a span for each sampled purchase: from the request until the decision, and another until its final
 * answer. Only who traces has it in between. A repeat is no purchase and has no span.
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
  const decided = (outcome: Outcome, startMs: number): void => {
    const { orderId, repeat } = outcome;
    if (orderId === undefined || repeat === true || !isSampled(orderId)) return;
    const ids = purchaseIds(orderId);
    tracing.send({ name: "decide purchase", ids, startMs, endMs: tracing.nowMs(), attributes: attributes(orderId, outcome) });
  };
  return {
    buy: (request, onOutcome) => {
      const startMs = tracing.nowMs();
      service.buy(request, (outcome) => {
        onOutcome(outcome);
        decided(outcome, startMs);
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
