import type { Trial } from "../trials.ts";
import type { Watched } from "../usage.ts";
import { loadFrom } from "./forked-load.ts";

export interface ShardOrder {
  /** of shard 0 */
  readonly url: string;
  readonly saleId: string;
  /** of the buyers' names: nobody comes twice */
  readonly prefix: string;
  /** purchases a call */
  readonly batch: number;
  /** calls on their way */
  readonly calls: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export type ShardMessage =
  | { readonly kind: "begin" }
  | { readonly kind: "end"; readonly count: number; readonly seconds: number }
  | { readonly kind: "broken"; readonly why: string };

/** Loads a shard with batches from a process of its own. */
export const loadShard = (order: ShardOrder, watched: Watched): Promise<Trial> => loadFrom("shard-main.js", { ...order }, watched);
