export type { BuyRequest, Cancel, Desk, SaleView } from "./buy/desk.ts";
export * from "./buy/outcome.ts";
export { createApp, listen, type Listener, type TemplatedApp } from "./http/app.ts";
export * from "./identity/ticket.ts";
export * from "./open-desk.ts";
export { KnownSale } from "./sales/known-sale.ts";
export * from "./plugin.ts";
