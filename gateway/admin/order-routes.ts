import { operation, type ZodServer } from "#program/zod-routes";
import { changeOrderSchema, orderAddressSchema, OrderChange, orderRecordSchema, paidOrderSchema, payOrderSchema } from "#protocol/order";
import { answers } from "./answers.ts";
import { forward } from "./problem.ts";
import type { WorkerRequests } from "./worker-requests.ts";

const orderId = orderAddressSchema.pick({ orderId: true });
const CHANGES: Readonly<Record<OrderChange, string>> = {
  cancel: "Give up an order that is not paid; its units are sold again",
  refund: "Take a paid order back; its units are sold again, and its payment is to be paid back",
};

/** Orders: look at, pay, cancel, refund. */
export const orderRoutes = (server: ZodServer, workers: WorkerRequests): void => {
  const show = operation({
    operationId: "showOrder",
    summary: "One order and its payments; with sale and buyer, by which orders are stored",
    params: orderId,
    querystring: orderAddressSchema.omit({ orderId: true }),
    response: answers({ description: "the order", schema: orderRecordSchema }, [400, 401, 404, 503]),
  });
  server.get("/orders/:orderId", { schema: show }, async ({ params, query }, reply) =>
    forward(reply, await workers.order({ ...params, ...query })),
  );

  const pay = operation({
    operationId: "payOrder",
    summary:
      "Money came in for an order; said again as often as you like, but with another amount or for another order it is a conflict. 404 also while a reservation is not in Postgres yet: say it again",
    params: orderId,
    body: payOrderSchema.omit({ orderId: true }),
    response: answers({ description: "what was decided, and the order as it is now", schema: paidOrderSchema }, [400, 401, 404, 409, 503]),
  });
  server.post("/orders/:orderId/payments", { schema: pay }, async ({ params, body }, reply) =>
    forward(reply, await workers.payOrder({ ...params, ...body })),
  );

  for (const change of Object.values(OrderChange)) {
    const schema = operation({
      operationId: `${change}Order`,
      summary: CHANGES[change],
      params: orderId,
      body: changeOrderSchema.omit({ orderId: true, change: true }),
      response: answers({ description: "the order as it is now", schema: orderRecordSchema }, [400, 401, 404, 409, 503]),
    });
    server.post(`/orders/:orderId/${change}`, { schema }, async ({ params, body }, reply) =>
      forward(reply, await workers.changeOrder({ ...params, ...body, change })),
    );
  }
};
