import { z } from "zod";
import { ID_PATTERN } from "../ids.ts";
import { SaleState } from "../sale.ts";

const id = z.string().regex(ID_PATTERN);

/** Pause, resume, close or archive. */
export const changeSaleSchema = z.strictObject({ id, state: z.enum(SaleState) });
export type ChangeSale = Readonly<z.infer<typeof changeSaleSchema>>;

/** Which sales are listed. Absent: all, as who does not know of archived ones asks. */
export const listSalesSchema = z.object({ archived: z.boolean().default(true) });

/** Ids of one question: a reply with all of their records stays below NATS's megabyte. */
export const MOST_SALES_ASKED = 512;
/** Sales by their ids; any text is looked for. */
export const findSalesSchema = z.object({ ids: z.array(z.string()).max(MOST_SALES_ASKED) });

/** More stock, once per grant id. */
export const addUnitsSchema = z.strictObject({ saleId: id, grantId: id, units: z.int().min(1).max(1_000_000_000) });
export type AddUnits = Readonly<z.infer<typeof addUnitsSchema>>;
