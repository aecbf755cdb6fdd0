import type { Bench } from "../scenario.ts";
import type { Trial } from "../trials.ts";
import type { Watched } from "../usage.ts";
import { addresses, requestText } from "./prepared-requests.ts";
import { GENERATOR, generate } from "./generator.ts";
import { answersOf, type LoadOrder, type Pause, type TicketRequests } from "./order.ts";
import { wrk, wrkCommand } from "./wrk.ts";

/** What is sent to a server, whichever generator sends it. */
export interface Load {
  readonly host: string;
  readonly port: number;
  readonly requests: { readonly kind: "same"; readonly method: "GET" | "POST"; readonly path: string } | TicketRequests;
  readonly connections: number;
  readonly pipelining: number;
  readonly seconds: number;
  readonly pause?: Pause | undefined;
}

export interface Sent extends Trial {
  /** answers with a status above 399 */
  readonly refused: number;
  readonly failed: number;
}

const pathsOf = function* (requests: Load["requests"]): Generator<string> {
  if (requests.kind === "same") yield requests.path;
  else for (const address of addresses(requests)) yield `/buy/${address}`;
};

export const orderOf = (load: Load, warmUpMs: number, perSecond = 0): LoadOrder => {
  const { host, port, requests, connections, pipelining, seconds, pause } = load;
  return {
    host,
    port,
    connections,
    pipelining,
    warmUpMs,
    measureMs: seconds * 1_000,
    perSecond,
    pause,
    requests: requests.kind === "same" ? { kind: "same", text: requestText(requests.method, requests.path, `${host}:${port}`) } : requests,
  };
};

/** Closed loop by wrk, which must be installed. */
export const sendByWrk = async (load: Load, watched: Watched, folder: string): Promise<Sent> => {
  const { host, port, requests, connections, pipelining, seconds, pause } = load;
  const method = requests.kind === "same" ? requests.method : "POST";
  const result = await wrk(
    { url: `http://${host}:${port}`, method, paths: pathsOf(requests), connections, pipelining, seconds, pause, folder },
    watched,
  );
  return {
    seconds: result.seconds,
    count: result.answered,
    refused: result.above399,
    failed: result.failed,
    cpuSeconds: result.cpuSeconds,
  };
};

/** Time for the generator's own code to be compiled; the servers are warm by then. */
const OWN_WARM_UP_MS = 500;

/** Closed loop by the generator, also where wrk is installed. */
export const sendByGenerator = async (load: Load, watched: Watched): Promise<Sent> => {
  const { result, cpuSeconds } = await generate(orderOf(load, OWN_WARM_UP_MS), watched);
  const refused = Object.entries(result.answered).reduce((sum, [status, count]) => sum + (Number(status) > 399 ? count : 0), 0);
  return { seconds: result.seconds, count: answersOf(result), refused, failed: result.failed, cpuSeconds };
};

/** Closed loop: as many answers as the server gives. wrk where it is installed, because it costs least; else the generator. */
export const send = async (bench: Bench, load: Load, watched: Watched, folder: string): Promise<Sent> => {
  bench.goOn();
  const sent = bench.wrk === undefined ? await sendByGenerator(load, watched) : await sendByWrk(load, watched, folder);
  if (sent.failed > sent.count / 1_000) throw new Error(`${sent.failed} of ${sent.count} requests had no answer`);
  return sent;
};

export const generatorOf = (bench: Bench, load: Pick<Load, "connections" | "pipelining" | "pause">): string => {
  const { connections, pipelining, pause } = load;
  const command =
    bench.wrk === undefined ? `${GENERATOR} -c${connections}${pipelining > 1 ? `, pipelined ${pipelining}` : ""}` : wrkCommand(load);
  return pause === undefined ? command : `${command}, ${pause.share * 100} % of the requests after a pause of 1 to ${pause.mostMs} ms`;
};
