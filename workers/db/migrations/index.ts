import { Tables } from "./0001-tables.ts";
import { Orders } from "./0002-orders.ts";

/** All migrations in order; a list instead of a folder scan, so that it is the same from source and from dist. */
export const migrations = [
  { name: "0001-tables", class: Tables },
  { name: "0002-orders", class: Orders },
];
