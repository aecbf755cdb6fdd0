import { fileURLToPath } from "node:url";
import { freePort, httpReady, Part, type Run } from "../../deploy/local/index.ts";

/** Where the service finds its coordinator, its stock's Redis and its stock. */
export interface PurchaseServiceOptions {
  readonly coordinator: string;
  readonly redis: string;
  readonly stockKey: string;
}

export interface PurchaseService {
  readonly part: Part;
  readonly port: number;
}

const MAIN = fileURLToPath(new URL("purchase-service-main.js", import.meta.url));
const WITHIN_MS = 30_000;

/** Starts somebody else's service that sells by two-phase messages (purchase-service-main.ts). */
export const startPurchaseService = async (run: Run, options: PurchaseServiceOptions): Promise<PurchaseService> => {
  const port = await freePort();
  const part = new Part(run, {
    name: "purchase-service",
    command: process.execPath,
    args: [MAIN, String(port), JSON.stringify(options)],
    isReady: () => httpReady(`http://127.0.0.1:${port}/healthz`),
    readyWithinMs: WITHIN_MS,
    stopSignal: "SIGKILL",
    stopWithinMs: WITHIN_MS,
  });
  await part.start();
  return { part, port };
};
