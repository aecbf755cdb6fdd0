import type { MessagePort } from "node:worker_threads";
import { Comparison, type ComparisonResult, type Cutoff, type Settled } from "./comparison.ts";
import type { HeldEntry } from "./redis-facts.ts";

/** A comparison's task for the pool: its data follows on the port, in chunks of UTF-8 lines whose buffers are moved. */
export interface ComparisonTask {
  readonly port: MessagePort;
  readonly cutoffs: readonly Cutoff[];
}

export type Chunk =
  | { readonly kind: "fields"; readonly shard: number; readonly saleId: string; readonly lines: Uint8Array }
  /** one line an entry: epoch, seq, sale, purchases, units withdrawn, tab separated */
  | { readonly kind: "entries"; readonly shard: number; readonly lines: Uint8Array }
  | { readonly kind: "orders"; readonly lines: Uint8Array }
  | { readonly kind: "finish"; readonly settled: Settled };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const toLines = (lines: readonly string[]): Uint8Array => encoder.encode(lines.join("\n"));
const fromLines = (bytes: Uint8Array): string[] => (bytes.length === 0 ? [] : decoder.decode(bytes).split("\n"));

export const entryToLine = (entry: HeldEntry): string =>
  `${entry.epoch}\t${entry.seq}\t${entry.saleId}\t${entry.purchases}\t${entry.withdrawnUnits}`;
const entryFromLine = (line: string): HeldEntry => {
  const [epoch, seq, saleId = "", purchases = "", withdrawnUnits = "0"] = line.split("\t");
  return { epoch: Number(epoch), seq: Number(seq), saleId, purchases, withdrawnUnits: Number(withdrawnUnits) };
};

/** Takes one chunk in; @returns the result of the last */
export const takeChunk = (comparison: Comparison, chunk: Chunk): ComparisonResult | undefined => {
  if (chunk.kind === "finish") return comparison.finish(chunk.settled);
  if (chunk.kind === "fields") comparison.addFields(chunk.shard, chunk.saleId, fromLines(chunk.lines));
  else if (chunk.kind === "entries") comparison.addEntries(chunk.shard, fromLines(chunk.lines).map(entryFromLine));
  else comparison.addOrders(fromLines(chunk.lines));
  return undefined;
};

/** Runs in a thread of the pool. Answers each chunk on the port, so that the sender can bound what is on its way. */
const compare = ({ port, cutoffs }: ComparisonTask): Promise<ComparisonResult> =>
  new Promise((resolve, reject) => {
    const comparison = new Comparison(cutoffs);
    port.on("message", (chunk: Chunk) => {
      try {
        const result = takeChunk(comparison, chunk);
        port.postMessage("taken");
        if (result === undefined) return;
        port.close();
        resolve(result);
      } catch (error) {
        port.close();
        reject(error);
      }
    });
    port.on("close", () => reject(new Error("the auditor gave the comparison up")));
  });

// oxlint-disable-next-line import/no-default-export -- piscina calls a module's default export
export default compare;
