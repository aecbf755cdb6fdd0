import { Status } from "#lua/core/codes";
import { parsePosition } from "#lua/core/position";
import { SaleState } from "#protocol/sale";
import { ArchiveEnd, type ArchiveShards, type ArchiveStore, type LookedShard } from "./archive-ports.ts";

export interface ArchivePorts {
  readonly store: ArchiveStore;
  readonly shards: ArchiveShards;
}

/**
 * Looks at one shard's Redis, in this order: the sale is closed there, so it makes no further entry; and then the last entry
 * that there is. An open server in one epoch is one and the same.
 * @returns undefined if it is not closed there, or the shard is not open
 */
const look = async ({ shards }: ArchivePorts, shard: number, saleId: string): Promise<LookedShard | undefined> => {
  const stock = await shards.stock(shard, saleId);
  if (stock.status !== Status.ok || stock.state !== SaleState.closed) return undefined;
  const { isOpen, epoch, last } = await shards.state(shard);
  const position = parsePosition(last);
  if (!isOpen || epoch !== stock.epoch || position?.epoch !== epoch) return undefined;
  return { shard, epoch, seq: position.seq };
};

/**
 * Archives a sale that is over (DESIGN 7.6): from the commit on Postgres answers for it, and the sweep takes it out of the
 * shards' Redis. One whose window is over and that nobody has closed is closed, and archived when its shards have heard of
 * it. Said again it changes nothing.
 */
export const archiveSale = async (ports: ArchivePorts, saleId: string): Promise<ArchiveEnd> => {
  const sale = await ports.store.end(saleId);
  if (sale === undefined) return ArchiveEnd.noSale;
  if (sale.isArchived) return ArchiveEnd.archived;
  if (sale.isOnSale) return ArchiveEnd.onSale;
  const looked = await Promise.all(sale.shards.map((shard) => look(ports, shard, saleId).catch(() => undefined)));
  const seen = looked.filter((one) => one !== undefined);
  return seen.length < looked.length ? ArchiveEnd.notClosed : ports.store.archive(saleId, seen);
};

/** What became of the sales that were due. */
export interface ArchiveRound {
  readonly archived: readonly string[];
  /** a shard or an order keeps them; they are tried again */
  readonly kept: readonly string[];
}

/** Archives what ended so long ago. */
export const archiveDue = async (ports: ArchivePorts, afterMs: number): Promise<ArchiveRound> => {
  const archived: string[] = [];
  const kept: string[] = [];
  for (const saleId of await ports.store.due(afterMs))
    ((await archiveSale(ports, saleId)) === ArchiveEnd.archived ? archived : kept).push(saleId);
  return { archived, kept };
};
