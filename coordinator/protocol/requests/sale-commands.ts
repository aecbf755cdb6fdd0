import { z } from "zod";
import { ID_PATTERN } from "../ids.ts";
import { SaleState } from "../sale.ts";

const id = z.string().regex(ID_PATTERN);

/** Pause, resume or close. */
export const changeSaleSchema = z.strictObject({ id, state: z.enum(SaleState) });
export type ChangeSale = Readonly<z.infer<typeof changeSaleSchema>>;

/** More stock, once per grant id. */
export const addUnitsSchema = z.strictObject({ saleId: id, grantId: id, units: z.int().min(1).max(1_000_000_000) });
export type AddUnits = Readonly<z.infer<typeof addUnitsSchema>>;
