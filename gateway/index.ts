export type { BuyRequest, BuyService, Cancel, SaleView } from "./buy/service.ts";
export * from "./buy/outcome.ts";
export { createApp, listen, type Listener, type TemplatedApp } from "./http/app.ts";
export { Door, type DoorOptions } from "./http/door.ts";
export { PartsVerdict, tryParser } from "./http/parser-trial.ts";
export * from "./identity/ticket.ts";
export * from "./open.ts";
export { KnownSale } from "./sales/known-sale.ts";
export * from "./plugin.ts";
