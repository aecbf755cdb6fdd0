import { RequestError, type Reply } from "#protocol/requests";
import type { SaleRecord } from "#protocol/sale";
import type { Clock } from "#protocol/ports";
import type { EntityManager } from "../db/database.ts";
import { ArchiveEnd } from "./archive-ports.ts";
import { archiveSale, type ArchivePorts } from "./archive.ts";
import { readSale } from "./records.ts";

/** The sweep brings a closing to Redis within a fraction of this, and a shard recovers within seconds: its operator waits for it. */
const PATIENCE_MS = 2_000;
const AGAIN_MS = 100;

const DETAILS: Readonly<Record<Exclude<ArchiveEnd, "archived" | "no_sale">, string>> = {
  [ArchiveEnd.onSale]: "is on sale: close it first",
  [ArchiveEnd.notClosed]: "is not closed on all of its shards yet: a Redis is away or in recovery; ask again",
  [ArchiveEnd.notApplied]: "has purchases that are not in Postgres yet: ask again",
  [ArchiveEnd.unitsMoving]: "has units on their way to a shard: ask again",
  [ArchiveEnd.ordersPending]: "has orders that are neither paid nor over: wait for them to expire, or cancel them",
};

/** What only has to be waited for a moment. */
const SOON: ReadonlySet<ArchiveEnd> = new Set([ArchiveEnd.notClosed, ArchiveEnd.notApplied, ArchiveEnd.unitsMoving]);

/**
 * An operator asks for it. What a sweep is about to do is waited for.
 * @param nudge brings to Redis now what is to be brought there
 */
export const archiveByCommand = async (
  ports: ArchivePorts & { readonly clock: Clock; readonly em: EntityManager },
  saleId: string,
  nudge: () => void,
): Promise<Reply<SaleRecord>> => {
  const { clock, em } = ports;
  const untilMs = clock.monotonicMs() + PATIENCE_MS;
  let ended = await archiveSale(ports, saleId);
  while (SOON.has(ended) && clock.monotonicMs() < untilMs) {
    nudge();
    await clock.sleep(AGAIN_MS);
    ended = await archiveSale(ports, saleId);
  }
  const sale = ended === ArchiveEnd.noSale ? undefined : await readSale(em, saleId);
  if (ended === ArchiveEnd.noSale || sale === undefined) return { ok: false, code: RequestError.notFound, detail: `no sale ${saleId}` };
  if (ended === ArchiveEnd.archived) return { ok: true, value: sale };
  return { ok: false, code: RequestError.conflict, detail: `sale ${saleId} ${DETAILS[ended]}` };
};
