import type { NatsConnection } from "nats";
import { z } from "zod";
import { answerSchema } from "#protocol/requests";
import { saleRecordSchema, type SaleRecord } from "#protocol/sale";
import { Request } from "#protocol/subjects";

/** A buyer waits for it. */
const TIMEOUT_MS = 1_000;

const answer = answerSchema(z.array(saleRecordSchema));

/**
 * The sales in Postgres, through a worker; without those on a shard that is not configured here.
 * @throws if no worker answers in time, or with an error
 */
export const listSales = async (nats: NatsConnection, shards: number): Promise<readonly SaleRecord[]> => {
  const message = await nats.request(Request.sales, JSON.stringify({}), { timeout: TIMEOUT_MS });
  const parsed = answer.parse(message.json());
  if (!parsed.ok) throw new Error(`${Request.sales}: ${parsed.code}: ${parsed.detail}`);
  return parsed.value.filter((sale) => sale.shards.every((shard) => shard < shards));
};
