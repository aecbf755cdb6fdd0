export { audit, StoreAway, type AuditStores } from "./audit.ts";
export { compareHere, compareInThread, type ComparisonPlace } from "./comparison-pool.ts";
export { DifferenceKind, type Difference } from "./difference.ts";
export type { AuditReport, SaleReport, ShardReport } from "./report.ts";
export { openAuditDatabase, type AuditDatabase } from "./postgres-facts.ts";
export { openStores, type StoreAddresses } from "./stores.ts";
export { eachLiveOrder, glance, type Glance, type LiveOrder } from "./glance.ts";
