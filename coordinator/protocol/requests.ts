export * from "./requests/contract.ts";
export * from "./requests/publications.ts";
export * from "./requests/purchase-orders.ts";
export * from "./requests/reply.ts";
export * from "./requests/sale-commands.ts";
export * from "./requests/sale-facts.ts";
export * from "./requests/shard-rows.ts";
