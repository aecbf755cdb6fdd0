import type { Watched } from "../usage.ts";
import type { Sent } from "./send.ts";
import { loadFrom } from "./forked-load.ts";

export interface AutocannonOrder {
  readonly url: string;
  readonly method: "GET" | "POST";
  readonly connections: number;
  readonly pipelining: number;
  /** threads */
  readonly workers: number;
  readonly seconds: number;
}

export const autocannonCommand = ({ connections, pipelining, workers }: AutocannonOrder): string =>
  `autocannon -c ${connections} -p ${pipelining} -w ${workers}`;

/** One load by autocannon. Its own rate is computed from whole seconds; here from its duration. */
export const autocannonLoad = ({ seconds, ...order }: AutocannonOrder, watched: Watched): Promise<Sent> =>
  loadFrom("autocannon-main.js", { ...order, duration: seconds }, watched);
