import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Redis } from "ioredis";
import { Barrier, Coordinator, Message, statusOf, type Sent } from "../../coordinator/messages/client/index.ts";

/** One small HTTP service. */
export interface Service {
  readonly url: string;
  stop(): Promise<void>;
}

const serve = async (handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>): Promise<Service> => {
  const server: Server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (!response.headersSent) response.writeHead(500);
      response.end(String(error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

export const stockKey = (activity: string): string => `{flash-sale-${activity}}-stock`;

export interface Order {
  readonly activity: string;
  readonly uid: string;
}

/** The order service: the branch of the message. It hears each order once, or more often if an answer was lost. */
export const startOrderService = (created: (order: Order) => void): Promise<Service> => {
  const orders = new Set<string>();
  return serve(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const order = JSON.parse(body) as Order;
    const id = `${order.activity}-${order.uid}`;
    if (!orders.has(id)) created(order);
    orders.add(id);
    response.writeHead(200).end();
  });
};

/** The query endpoint: did the deduction of this message happen? If not, it never will. */
export const startQueryService = (redis: Redis, asked: (gid: string, happened: boolean) => void): Promise<Service> =>
  serve(async (request, response) => {
    const barrier = Barrier.fromRequest(request.url ?? "");
    const step = await barrier.queryPrepared(redis);
    asked(barrier.gid, step === "done");
    response.writeHead(statusOf(step)).end();
  });

export interface Purchases {
  readonly coordinator: Coordinator;
  readonly redis: Redis;
  readonly orderUrl: string;
  readonly queryUrl: string;
  /** called between the deduction and the submit; the example makes it throw to play a crash */
  readonly afterDeduction?: (order: Order) => Promise<void>;
}

/** The purchase itself: the classic three steps. Asking twice is asking once: the gid is the purchase. */
const purchase = ({ coordinator, redis, orderUrl, queryUrl, afterDeduction }: Purchases, order: Order): Promise<Sent> =>
  new Message(`flash-sale-${order.activity}-${order.uid}`, coordinator).add(orderUrl, order).doAndSubmit(queryUrl, async (barrier) => {
    const step = await barrier.checkAdjustAmount(redis, stockKey(order.activity), -1);
    await afterDeduction?.(order);
    return step;
  });

/** The purchase handler: POST /buy?activity=&uid= */
export const startPurchaseService = (purchases: Purchases): Promise<Service> =>
  serve(async (request, response) => {
    const query = new URL(request.url ?? "/", "http://localhost").searchParams;
    const sent = await purchase(purchases, { activity: query.get("activity") ?? "", uid: query.get("uid") ?? "" });
    response.writeHead(sent.status === "submitted" ? 200 : 409, { "content-type": "application/json" });
    response.end(JSON.stringify(sent));
  });
