import { issuesText } from "./zod-issues.ts";
import { saleRecordSchema, type SaleRecord } from "./sale.ts";

/**
 * A value of the bucket `sales`, as everybody reads it.
 * @param key what it is stored under
 * @returns what is wrong with it, as a sentence, or the record
 */
export const readSaleRecord = (key: string, bytes: Uint8Array): SaleRecord | string => {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return "not JSON";
  }
  const result = saleRecordSchema.safeParse(value);
  if (!result.success) return issuesText(result.error, "record");
  return result.data.id === key ? result.data : `its id is ${result.data.id}`;
};
