import type { Clock } from "../protocol/ports.ts";
import { SaleState, type SaleRecord } from "../protocol/sale.ts";
import { collect, decideSoldOut, SoldOutLook } from "./decision.ts";
import type { SoldOutPorts } from "./ports.ts";

/** A sale that has sold out is answered from Redis until it is flagged: that costs little for so long. */
const LOOK_MS = 200;
/** A flagged sale is looked at again rarely: its flag is withdrawn by whoever frees a unit, not by us. */
const FLAGGED_LOOKS = 10;

export interface SoldOutWatchOptions {
  readonly ports: SoldOutPorts;
  readonly clock: Clock;
  /** the sales as they are known now */
  readonly sales: () => Iterable<SaleRecord>;
  /** one coordinator decides about a sale: the one that looks after the sale's first shard */
  readonly isOurs: (shard: number) => boolean;
  readonly decided: (saleId: string) => void;
  readonly fault: (error: unknown) => void;
}

/** Looks at the open sales of our shards until stopped, and flags those that are sold out. */
export const watchSoldOut = async (options: SoldOutWatchOptions, stop: AbortSignal): Promise<void> => {
  const { ports, clock, sales, isOurs, decided, fault } = options;
  /** sale id -> the stock moves at which it was flagged; another unit or another epoch makes them differ */
  const flagged = new Map<string, string>();

  const look = async (sale: SaleRecord, isRare: boolean): Promise<void> => {
    const known = flagged.get(sale.id);
    if (known !== undefined && !isRare) return;
    const moves = (await collect(ports, sale))?.moves;
    if (moves === undefined) flagged.delete(sale.id);
    if (moves === undefined || moves === known) return;
    const result = await decideSoldOut(ports, sale);
    if (result !== SoldOutLook.soldOut) return;
    flagged.set(sale.id, moves);
    decided(sale.id);
  };

  for (let turn = 0; !stop.aborted; turn += 1) {
    for (const sale of sales()) {
      const home = sale.shards[0];
      if (stop.aborted || sale.state !== SaleState.open || home === undefined || !isOurs(home)) continue;
      await look(sale, turn % FLAGGED_LOOKS === 0).catch(fault);
    }
    await clock.sleep(LOOK_MS, stop);
  }
};
