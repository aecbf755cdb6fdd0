import { z } from "zod";
import { saleRecordSchema, type SaleRecord } from "./sale.ts";
import { issuesText } from "./zod-issues.ts";

/** A sale that is there and whose record cannot be read: somebody wrote to a store what our programs do not. */
export const unreadableSaleSchema = z.object({ id: z.string(), problem: z.string().describe("what is wrong with its record") });

/** One of a list of sales: a record that cannot be read is told of in its place, and the others are as they are. */
export type ListedSale = SaleRecord | Readonly<z.infer<typeof unreadableSaleSchema>>;

export const isReadable = (sale: ListedSale): sale is SaleRecord => !("problem" in sale);

const idOf = (value: unknown): string => {
  const id = typeof value === "object" && value !== null && "id" in value ? value.id : undefined;
  return typeof id === "string" ? id : "";
};

export const listedSale = (value: unknown): ListedSale => {
  const record = saleRecordSchema.safeParse(value);
  if (record.success) return record.data;
  const unreadable = unreadableSaleSchema.safeParse(value);
  return unreadable.success ? unreadable.data : { id: idOf(value), problem: issuesText(record.error, "record") };
};

export const listedSalesSchema = z.array(z.unknown().transform(listedSale));
