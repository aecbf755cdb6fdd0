import type { NatsConnection } from "nats";
import type { z } from "zod";
import { ask } from "#program/requests/ask";
import type { ListedSale } from "#protocol/listed-sale";
import type { ChangeOrder, OrderAddress, OrderRecord, PaidOrder, PayOrder } from "#protocol/order";
import { askForSales } from "../stores/sale-finder.ts";
import { requests, type Request } from "#protocol/requests/contract";
import { RequestError, UnreadableReply, type Reply } from "#protocol/requests/reply";
import type { AddUnits, ChangeSale } from "#protocol/requests/sale-commands";
import type { OpenSale, SaleRecord } from "#protocol/sale";
import type { ChangeShard, ShardFacts } from "#protocol/shard-facts";

/** What the admin API asks of the order workers; all of it can be repeated. */
export interface WorkerRequests {
  list(which: { readonly archived: boolean }): Promise<Reply<readonly ListedSale[]>>;
  /** those of these sales that there are, archived ones too */
  find(ids: readonly string[]): Promise<Reply<readonly ListedSale[]>>;
  open(sale: OpenSale): Promise<Reply<SaleRecord>>;
  change(change: ChangeSale): Promise<Reply<SaleRecord>>;
  addUnits(units: AddUnits): Promise<Reply<SaleRecord>>;
  order(address: OrderAddress): Promise<Reply<OrderRecord>>;
  payOrder(pay: PayOrder): Promise<Reply<PaidOrder>>;
  changeOrder(change: ChangeOrder): Promise<Reply<OrderRecord>>;
  shards(): Promise<Reply<readonly ShardFacts[]>>;
  changeShard(change: ChangeShard): Promise<Reply<ShardFacts>>;
}

const unavailable = (detail: string): Reply<never> => ({ ok: false, code: RequestError.unavailable, detail });

/** @param connection undefined while NATS has not been reached */
export const workerRequests = (connection: () => NatsConnection | undefined): WorkerRequests => {
  const answered = async <T>(question: (nats: NatsConnection) => Promise<Reply<T>>): Promise<Reply<T>> => {
    const nats = connection();
    if (nats === undefined) return unavailable("NATS cannot be reached; ask again");
    try {
      return await question(nats);
    } catch (error) {
      return unavailable(
        error instanceof UnreadableReply
          ? "an order worker gave an answer that this gateway does not understand"
          : "no order worker answered; what was asked may or may not have been done, ask again",
      );
    }
  };
  const forward = <Body extends z.ZodType, Value extends z.ZodType>(request: Request<Body, Value>, body: z.input<Body>) =>
    answered((nats) => ask(nats, request, body));
  /** A worker of the version before takes no field of it, and answers everything. */
  const forwardOrBare = async <Body extends z.ZodType, Value extends z.ZodType>(request: Request<Body, Value>, body: z.input<Body>) => {
    const asked = await forward(request, body);
    return !asked.ok && asked.code === RequestError.badRequest ? await forward(request, {} as z.input<Body>) : asked;
  };
  return {
    list: (which) => forwardOrBare(requests.sales, which),
    find: (ids) => answered((nats) => askForSales(nats, ids)),
    open: (sale) => forward(requests.openSale, sale),
    change: (change) => forward(requests.changeSale, change),
    addUnits: (units) => forward(requests.addUnits, units),
    order: (address) => forward(requests.order, address),
    payOrder: (pay) => forward(requests.payOrder, pay),
    changeOrder: (change) => forward(requests.changeOrder, change),
    shards: () => forwardOrBare(requests.shards, { all: true }),
    changeShard: (change) => forward(requests.changeShard, change),
  };
};
