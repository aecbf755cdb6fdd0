import { MessageChannel, type MessagePort } from "node:worker_threads";
import { Piscina } from "piscina";
import { Comparison, type ComparisonResult, type Cutoff, type Settled } from "./comparison.ts";
import { entryToLine, takeChunk, toLines, type Chunk, type ComparisonTask } from "./comparison-thread.ts";
import type { HeldEntry } from "./redis-facts.ts";

/** A comparison that is being fed. Feed all fields before the first order. */
export interface Comparing {
  fields(shard: number, saleId: string, page: readonly string[]): Promise<void>;
  entries(shard: number, page: readonly HeldEntry[]): Promise<void>;
  orders(lines: readonly string[]): Promise<void>;
  finish(settled: Settled): Promise<ComparisonResult>;
  /** gives it up; nothing happens after `finish` */
  drop(): void;
}

/** Where large sets are compared. */
export interface ComparisonPlace {
  begin(cutoffs: readonly Cutoff[]): Comparing;
  close(): Promise<void>;
}

/** Chunks on their way to the thread, each at most about 2 MB: bounds the memory between reader and thread. */
const CHUNKS_ON_THE_WAY = 8;

const feeder = (send: (chunk: Chunk) => Promise<void>) => ({
  fields: (shard: number, saleId: string, page: readonly string[]) => send({ kind: "fields", shard, saleId, lines: toLines(page) }),
  entries: (shard: number, page: readonly HeldEntry[]) => send({ kind: "entries", shard, lines: toLines(page.map(entryToLine)) }),
  orders: (lines: readonly string[]) => send({ kind: "orders", lines: toLines(lines) }),
});

/** In this thread: for small sets, and for tests that run from source. */
export const compareHere: ComparisonPlace = {
  begin: (cutoffs) => {
    const comparison = new Comparison(cutoffs);
    const send = async (chunk: Chunk): Promise<void> => void takeChunk(comparison, chunk);
    return { ...feeder(send), finish: async (settled) => comparison.finish(settled), drop: () => undefined };
  },
  close: async () => undefined,
};

/**
 * Sends chunks, at most CHUNKS_ON_THE_WAY not yet taken in, for as many callers as there are shards; a closed port lets
 * everything through.
 */
export const sender = (port: MessagePort): ((chunk: Chunk) => Promise<void>) => {
  let onTheWay = 0;
  const waiting: (() => void)[] = [];
  const isFull = (): boolean => onTheWay >= CHUNKS_ON_THE_WAY;
  port.on("message", () => {
    onTheWay -= 1;
    waiting.shift()?.();
  });
  port.on("close", () => {
    onTheWay = Number.NEGATIVE_INFINITY;
    for (const resume of waiting.splice(0)) resume();
  });
  return async (chunk) => {
    // again, because another caller may have taken the place
    while (isFull()) await new Promise<void>((resolve) => void waiting.push(resolve));
    onTheWay += 1;
    port.postMessage(chunk, chunk.kind === "finish" ? [] : [chunk.lines.buffer as ArrayBuffer]);
  };
};

/** A pool thread: a million purchases take seconds, in which this process goes on answering. */
export const compareInThread = (): ComparisonPlace => {
  const pool = new Piscina<ComparisonTask, ComparisonResult>({
    filename: new URL("./comparison-thread.js", import.meta.url).href,
    minThreads: 0,
    maxThreads: 1,
    // the thread has to hear its port between chunks, not sleep on the pool's lock
    atomics: "disabled",
  });
  return {
    begin: (cutoffs) => {
      const { port1, port2 } = new MessageChannel();
      const result = pool.run({ port: port2, cutoffs }, { transferList: [port2] });
      // a failure is reported to whoever awaits `finish`; until then it must not count as unhandled
      result.catch(() => port1.close());
      const send = sender(port1);
      return {
        ...feeder(send),
        finish: async (settled) => {
          await send({ kind: "finish", settled });
          const compared = await result;
          port1.close();
          return compared;
        },
        drop: () => port1.close(),
      };
    },
    close: () => pool.close({ force: true }),
  };
};
