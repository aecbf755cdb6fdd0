import type { NatsConnection } from "nats";
import { publish } from "#program/requests/publish";
import { formatOrderId, type OrderId } from "#protocol/order-id";
import { publications } from "#protocol/requests/publications";

/** Tells the gateways that orders came into another state: one event for each of their shards. */
export const publishChanged = (connection: NatsConnection, orders: readonly OrderId[]): void => {
  const ofShard = new Map<number, string[]>();
  for (const order of orders) {
    const ids = ofShard.get(order.shard);
    if (ids === undefined) ofShard.set(order.shard, [formatOrderId(order)]);
    else ids.push(formatOrderId(order));
  }
  for (const [shard, ids] of ofShard) publish(connection, publications.ordersChanged, shard, { orders: ids });
};
