import type { NatsConnection } from "nats";
import { z } from "zod";
import { answerSchema, RequestError, type AddUnits, type Answer, type ChangeSale } from "#protocol/requests";
import {
  orderRecordSchema,
  paidOrderSchema,
  type ChangeOrder,
  type OrderAddress,
  type OrderRecord,
  type PaidOrder,
  type PayOrder,
} from "#protocol/order";
import { saleRecordSchema, type OpenSale, type SaleRecord } from "#protocol/sale";
import { allShardFactsSchema, shardFactsSchema, type ChangeShard, type ShardFacts } from "#protocol/shard-facts";
import { Request } from "#protocol/subjects";

/** What the admin API asks of the order workers; all of it can be repeated. */
export interface WorkerRequests {
  list(): Promise<Answer<readonly SaleRecord[]>>;
  open(sale: OpenSale): Promise<Answer<SaleRecord>>;
  change(change: ChangeSale): Promise<Answer<SaleRecord>>;
  addUnits(units: AddUnits): Promise<Answer<SaleRecord>>;
  order(address: OrderAddress): Promise<Answer<OrderRecord>>;
  payOrder(pay: PayOrder): Promise<Answer<PaidOrder>>;
  changeOrder(change: ChangeOrder): Promise<Answer<OrderRecord>>;
  shards(): Promise<Answer<readonly ShardFacts[]>>;
  changeShard(change: ChangeShard): Promise<Answer<ShardFacts>>;
}

const ANSWER_WITHIN_MS = 5_000;

const unavailable = (detail: string): Answer<never> => ({ ok: false, code: RequestError.unavailable, detail });

const one = answerSchema(saleRecordSchema);
const many = answerSchema(z.array(saleRecordSchema));
const oneOrder = answerSchema(orderRecordSchema);
const paidOrder = answerSchema(paidOrderSchema);
const oneShard = answerSchema(shardFactsSchema);
const allShards = answerSchema(allShardFactsSchema);

/** @param connection undefined while NATS has not been reached */
export const workerRequests = (connection: () => NatsConnection | undefined): WorkerRequests => {
  const ask = async <T>(subject: Request, body: unknown, schema: z.ZodType<Answer<T>>): Promise<Answer<T>> => {
    const nats = connection();
    if (nats === undefined) return unavailable("NATS cannot be reached; ask again");
    let answer: unknown;
    try {
      const message = await nats.request(subject, JSON.stringify(body), { timeout: ANSWER_WITHIN_MS });
      answer = message.json();
    } catch {
      return unavailable("no order worker answered; what was asked may or may not have been done, ask again");
    }
    const parsed = schema.safeParse(answer);
    return parsed.success ? parsed.data : unavailable("an order worker gave an answer that this gateway does not understand");
  };
  return {
    list: () => ask<readonly SaleRecord[]>(Request.sales, {}, many),
    open: (sale) => ask(Request.openSale, sale, one),
    change: (change) => ask(Request.changeSale, change, one),
    addUnits: (units) => ask(Request.addUnits, units, one),
    order: (address) => ask(Request.order, address, oneOrder),
    payOrder: (pay) => ask(Request.payOrder, pay, paidOrder),
    changeOrder: (change) => ask(Request.changeOrder, change, oneOrder),
    shards: () => ask<readonly ShardFacts[]>(Request.shards, {}, allShards),
    changeShard: (change) => ask(Request.changeShard, change, oneShard),
  };
};
