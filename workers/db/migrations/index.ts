import { Tables } from "./0001-tables.ts";
import { Orders } from "./0002-orders.ts";
import { FlaggedEpochs } from "./0003-flagged-epochs.ts";
import { PayWindow } from "./0004-pay-window.ts";
import { ArchivedSales } from "./0005-archived-sales.ts";

/** All migrations in order; a list instead of a folder scan, so that it is the same from source and from dist. */
export const migrations = [
  { name: "0001-tables", class: Tables },
  { name: "0002-orders", class: Orders },
  { name: "0003-flagged-epochs", class: FlaggedEpochs },
  { name: "0004-pay-window", class: PayWindow },
  { name: "0005-archived-sales", class: ArchivedSales },
];
