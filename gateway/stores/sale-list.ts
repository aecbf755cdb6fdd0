import type { NatsConnection } from "nats";
import { askValue } from "#program/requests/ask";
import { requests } from "#protocol/requests/contract";
import type { SaleRecord } from "#protocol/sale";

/** A buyer waits for it. */
const WITHIN_MS = 1_000;

/**
 * The sales in Postgres, through a worker; without those on a shard that is not configured here.
 * @throws if no worker answers in time, or with an error
 */
export const listSales = async (nats: NatsConnection, shards: number): Promise<readonly SaleRecord[]> => {
  const sales = await askValue(nats, requests.sales, {}, WITHIN_MS);
  return sales.filter((sale) => sale.shards.every((shard) => shard < shards));
};
