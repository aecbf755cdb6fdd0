export { audit, StoreAway, type AuditStores } from "./audit.ts";
export { compareHere, compareInThread } from "./comparison-pool.ts";
export { DifferenceKind } from "./difference.ts";
export type { AuditReport, SaleReport } from "./report.ts";
export { openStores, type StoreAddresses } from "./stores.ts";
export { eachLiveOrder, glance, type LiveOrder } from "./glance.ts";
