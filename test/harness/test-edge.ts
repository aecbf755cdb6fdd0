import { createApp, listen, type TemplatedApp } from "../../gateway/http/app.ts";
import { signTicket, ticketKeys } from "../../gateway/identity/ticket.ts";
import { mountDoorbuster, type Mounted, type PluginOptions } from "../../gateway/plugin.ts";
import { SALE, WrittenDesk } from "./scripted-desk.ts";

export const keys = ticketKeys([{ id: "k1", secret: "a secret for tests only" }]);

export const ticketFor = (uid: string, saleId = SALE, expiresAtMs = Date.now() + 600_000): string =>
  signTicket(keys, { saleId, uid, expiresAtMs });

export interface TestEdge {
  readonly port: number;
  readonly desk: WrittenDesk;
  readonly mounted: Mounted;
  /** what handlers threw */
  readonly faults: unknown[];
  stopListening(): void;
  close(): void;
}

/** A real uWebSockets.js app on a free port with a desk by hand behind it. */
export const startEdge = async (options: Partial<PluginOptions> = {}, prepare?: (app: TemplatedApp) => void): Promise<TestEdge> => {
  const app = createApp();
  const desk = new WrittenDesk(keys);
  const faults: unknown[] = [];
  prepare?.(app);
  const mounted = mountDoorbuster(app, {
    service: desk,
    tickets: keys,
    notFound: true,
    onFault: (error) => faults.push(error),
    ...options,
  });
  const listener = await listen(app, "127.0.0.1", 0);
  return { port: listener.port, desk, mounted, faults, stopListening: () => listener.close(), close: () => void app.close() };
};
