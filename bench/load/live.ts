import type { Trial } from "../trials.ts";
import type { Watched } from "../usage.ts";
import { loadFrom } from "./forked-load.ts";

export interface LiveOrder {
  readonly host: string;
  readonly port: number;
  readonly keys: string;
  readonly saleId: string;
  readonly prefix: string;
  /** sockets */
  readonly buyers: number;
  /** purchases of each, told apart by their keys */
  readonly each: number;
  /** purchases on their way over all sockets */
  readonly onTheWay: number;
  /** purchases before it counts */
  readonly warmUp: number;
}

export type LiveMessage =
  | { readonly kind: "begin" }
  | { readonly kind: "end"; readonly count: number; readonly seconds: number }
  | { readonly kind: "broken"; readonly why: string };

/** Purchases over WebSockets from a process of its own. */
export const loadLive = (order: LiveOrder, watched: Watched): Promise<Trial> => loadFrom("live-main.js", { ...order }, watched);
