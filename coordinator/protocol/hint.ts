import { z } from "zod";
import { ID_PATTERN } from "./ids.ts";

/**
 * What a gateway says on `drySubject(shard)` when Redis found too few units on a shard of a sale that is not sold out. So a
 * refused buyer leaves nothing in Redis. Gateways say it rarely (a few times a second for a sale and shard).
 */
export const dryHintSchema = z.object({
  saleId: z.string().regex(ID_PATTERN),
  /** least number of units that somebody asked for in vain */
  units: z.int().min(1).max(1_000),
});
export type DryHint = Readonly<z.infer<typeof dryHintSchema>>;
