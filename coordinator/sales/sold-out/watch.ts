import { Status } from "#lua/core/codes";
import type { Clock } from "#protocol/ports";
import { SaleState, type SaleRecord } from "#protocol/sale";
import { decideSoldOut, SoldOutLook } from "./decision.ts";
import type { SoldOutPorts } from "./sold-out-ports.ts";

/** A sale that has sold out is answered from Redis until it is flagged: that costs little for so long. */
const LOOK_MS = 200;

export interface SoldOutWatchOptions {
  readonly ports: SoldOutPorts;
  readonly clock: Clock;
  /** the sales as they are known now */
  readonly sales: () => Iterable<SaleRecord>;
  /** one coordinator decides about a sale: the one that looks after the first of the sale's shards that is open */
  readonly isOurs: (shard: number) => boolean;
  readonly decided: (saleId: string) => void;
  readonly fault: (error: unknown) => void;
}

/**
 * Looks at the open sales of our shards until stopped, and flags those that are sold out. A sale whose flag stands costs
 * nothing: whoever frees a unit withdraws the flag in Postgres, and from then on the sale is looked at like any other. Each
 * sale is looked at by itself, because a Redis that hangs answers only by a time-out, and that would hold up the flags of
 * all others.
 */
export const watchSoldOut = async (options: SoldOutWatchOptions, stop: AbortSignal): Promise<void> => {
  const { ports, clock, sales, isOurs, decided, fault } = options;
  const looking = new Map<string, Promise<void>>();

  /** An earlier shard of the sale is open, so another coordinator looks after it. */
  const isElsewhere = async ({ id, shards }: SaleRecord): Promise<boolean> => {
    for (const shard of shards) {
      if (isOurs(shard)) return false;
      const stock = await ports.stock(shard, id).catch(() => undefined);
      if (stock?.status === Status.ok) return true;
    }
    return true;
  };

  const look = async (sale: SaleRecord): Promise<void> => {
    if (!(await isElsewhere(sale)) && (await decideSoldOut(ports, sale)) === SoldOutLook.soldOut) decided(sale.id);
  };

  const lookAtAll = async (): Promise<void> => {
    const ours = [...sales()].filter(({ state, shards }) => state === SaleState.open && shards.some((shard) => isOurs(shard)));
    if (ours.length === 0) return;
    const flagged = new Set((await ports.flags()).map(({ saleId }) => saleId));
    for (const sale of ours) {
      if (flagged.has(sale.id) || looking.has(sale.id)) continue;
      const ended = look(sale)
        .catch(fault)
        .finally(() => looking.delete(sale.id));
      looking.set(sale.id, ended);
    }
  };

  while (!stop.aborted) {
    await lookAtAll().catch(fault);
    await clock.sleep(LOOK_MS, stop);
  }
  await Promise.all(looking.values());
};
