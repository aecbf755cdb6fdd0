import { orderRecordSchema, paidOrderSchema } from "#protocol/order";
import { openSaleSchema, saleRecordSchema } from "#protocol/sale";
import { shardFactsSchema } from "#protocol/shard-facts";
import { problemSchema } from "./problem.ts";

/** What openapi.json says beside the routes of admin.ts. */
export const adminDocument = {
  info: {
    title: "Doorbuster admin API",
    version: "0.1.0",
    license: { name: "MIT", identifier: "MIT" },
    description:
      "For operators, on DOORBUSTER_ADMIN_HOST and _PORT of a gateway, with DOORBUSTER_ADMIN_TOKEN. Match on `code`, never on text. Everything here can be repeated.",
  },
  security: [{ admin: [] }],
  securitySchemes: { admin: { type: "http", scheme: "bearer" } },
  named: {
    Problem: problemSchema,
    OpenSale: openSaleSchema,
    Sale: saleRecordSchema,
    Shard: shardFactsSchema,
    Order: orderRecordSchema,
    PaidOrder: paidOrderSchema,
  },
} as const;
