import { connect } from "node:net";
import { createApp, listen } from "./app.ts";

const REQUEST = "GET /trial HTTP/1.1\r\nHost: trial\r\n\r\n";
/** where the request line is cut: in its method, its path, its version */
const CUTS = [2, "GET /tri".length, "GET /trial HTTP/1".length] as const;
/** A parser that minds answers the first part at once; only one that does not is given the rest. */
const REST_AFTER_MS = 20;
const BOUND_MS = 2_000;

/** How a server takes a request line that arrives in two parts, as TCP may bring it. */
export const PartsVerdict = {
  answered: "answered",
  /** with an error, as if the request were malformed */
  refused: "refused",
  /** nobody answered in time */
  unknown: "unknown",
} as const;
export type PartsVerdict = (typeof PartsVerdict)[keyof typeof PartsVerdict];

/** @returns the status, undefined without an answer in time */
const statusOfCut = (port: number, cut: number): Promise<number | undefined> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1").setNoDelay(true);
    let rest: NodeJS.Timeout | undefined;
    const end = (status: number | undefined): void => {
      clearTimeout(rest);
      clearTimeout(bound);
      socket.destroy();
      resolve(status);
    };
    const bound = setTimeout(() => end(undefined), BOUND_MS);
    socket.on("connect", () => {
      socket.write(REQUEST.slice(0, cut));
      rest = setTimeout(() => socket.write(REQUEST.slice(cut)), REST_AFTER_MS);
    });
    socket.on("data", (bytes) => end(Number(/^HTTP\/1\.1 (\d{3})/.exec(bytes.toString("latin1"))?.[1])));
    socket.on("error", () => end(undefined)).on("close", () => end(undefined));
  });

/** Asks the server on a port of loopback; never rejects, and ends within some seconds. */
export const askInParts = async (port: number): Promise<PartsVerdict> => {
  const statuses = await Promise.all(CUTS.map((cut) => statusOfCut(port, cut)));
  if (statuses.includes(undefined)) return PartsVerdict.unknown;
  return statuses.every((status) => status === 200) ? PartsVerdict.answered : PartsVerdict.refused;
};

/**
 * Tries this build of uWebSockets.js on a port of loopback that is there for the trial only. Its binary for Node 20 answers 505
 * to a request line in two parts, and to a pipelined request that a segment's end cuts; those for Node 22 and 24 do not.
 * @throws Error if no port can be had
 */
export const tryParser = async (): Promise<PartsVerdict> => {
  const app = createApp();
  app.any("/*", (res) => void res.end());
  const listener = await listen(app, "127.0.0.1", 0);
  try {
    return await askInParts(listener.port);
  } finally {
    app.close();
  }
};
