import { createApp, listen, type TemplatedApp } from "../../gateway/http/app.ts";
import { signTicket, ticketKeys } from "../../gateway/identity/ticket.ts";
import { mountDoorbuster, type Mounted, type PluginOptions } from "../../gateway/plugin.ts";
import { SALE, ScriptedBuyService } from "./scripted-buy-service.ts";

export const keys = ticketKeys([{ id: "k1", secret: "a secret for tests only" }]);

export const ticketFor = (uid: string, saleId = SALE, expiresAtMs = Date.now() + 600_000): string =>
  signTicket(keys, { saleId, uid, expiresAtMs });

/**
 * The gateway's HTTP and WebSocket side alone: a real uWebSockets.js app in this process, no store, no other process. `close`
 * ends it.
 */
export interface EdgeWorld {
  readonly port: number;
  readonly service: ScriptedBuyService;
  readonly mounted: Mounted;
  /** what handlers threw */
  readonly faults: unknown[];
  stopListening(): void;
  close(): void;
}

/** A real uWebSockets.js app on a free port with a scripted service behind it. */
export const startEdgeWorld = async (options: Partial<PluginOptions> = {}, prepare?: (app: TemplatedApp) => void): Promise<EdgeWorld> => {
  const app = createApp();
  const service = new ScriptedBuyService(keys);
  const faults: unknown[] = [];
  prepare?.(app);
  const mounted = mountDoorbuster(app, {
    service: service,
    tickets: keys,
    notFound: true,
    onFault: (error) => faults.push(error),
    ...options,
  });
  const listener = await listen(app, "127.0.0.1", 0);
  return { port: listener.port, service, mounted, faults, stopListening: () => listener.close(), close: () => void app.close() };
};
