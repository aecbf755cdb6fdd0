import { ErrorCode, type NatsConnection } from "nats";
import { ask } from "#program/requests/ask";
import { requests } from "#protocol/requests/contract";
import { Refused, type Reply } from "#protocol/requests/reply";
import { isReadable, type ListedSale } from "#protocol/listed-sale";

/** A buyer waits for it. */
const WITHIN_MS = 1_000;

/**
 * Asks the workers for sales by their ids. Where only those of the version before are, they know no archived sale, and list all.
 * @throws what NATS throws if nobody answers in time
 */
export const askForSales = async (
  nats: NatsConnection,
  ids: readonly string[],
  withinMs?: number,
): Promise<Reply<readonly ListedSale[]>> => {
  try {
    return await ask(nats, requests.findSales, { ids: [...ids] }, withinMs);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === ErrorCode.NoResponders)) throw error;
    const listed = await ask(nats, requests.sales, {}, withinMs);
    return listed.ok ? { ok: true, value: listed.value.filter(({ id }) => ids.includes(id)) } : listed;
  }
};

/**
 * Sales in Postgres, through a worker; without those on a shard that is not configured here.
 * @throws if no worker answers in time, or with an error
 */
export const findSales = async (nats: NatsConnection, ids: readonly string[], shards: number): Promise<readonly ListedSale[]> => {
  const reply = await askForSales(nats, ids, WITHIN_MS);
  if (!reply.ok) throw new Refused(requests.findSales.subject, reply.code, reply.detail);
  return reply.value.filter((sale) => !isReadable(sale) || sale.shards.every((shard) => shard < shards));
};
