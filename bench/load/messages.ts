import type { Trial } from "../trials.ts";
import type { Watched } from "../usage.ts";
import { loadFrom } from "./forked-load.ts";

export interface MessagesOrder {
  /** of the coordinator */
  readonly url: string;
  /** of the gids */
  readonly prefix: string;
  /** messages on their way */
  readonly senders: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** prepare + submit from a process of its own. */
export const loadMessages = (order: MessagesOrder, watched: Watched): Promise<Trial> => loadFrom("messages-main.js", { ...order }, watched);
