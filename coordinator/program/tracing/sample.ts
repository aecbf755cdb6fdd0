import { createHash } from "node:crypto";
import type { OrderId } from "#protocol/order-id";

/** Ids of a span, as W3C Trace Context writes them: 32 and 16 digits in hexadecimal. */
export interface SpanIds {
  readonly traceId: string;
  readonly spanId: string;
}

const SIDES = 2 ** 32;

/** MurmurHash3's last step: every bit of the input moves every bit of the output. */
const mixed = (value: number): number => {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
};

/**
 * Which purchases are traced: by the order id alone, so that gateway, coordinator and worker choose the same ones without a
 * word between them.
 * @param share 0 to 1
 */
export const sampler = (share: number): ((order: OrderId) => boolean) => {
  const bound = share * SIDES;
  return ({ shard, epoch, seq, index }) => {
    const place = mixed(mixed(shard) ^ epoch);
    const entry = mixed(mixed(place ^ seq) ^ Math.floor(seq / SIDES));
    return mixed(entry ^ index) < bound;
  };
};

/** The same in every process, from what all of them know. */
const idsOf = (name: string): SpanIds => {
  const digest = createHash("sha256").update(name).digest("hex");
  return { traceId: digest.slice(0, 32), spanId: digest.slice(32, 48) };
};

/** Of the gateway's span about a purchase. @param orderId as buyers are told it */
export const purchaseIds = (orderId: string): SpanIds => idsOf(`doorbuster purchase ${orderId}`);

/**
 * Of the coordinator's span about a record of the log, by the position at which it ends: the one thing that the worker that
 * applies it knows for sure as well.
 */
export const recordIds = (shard: number, epoch: number, lastSeq: number): SpanIds =>
  idsOf(`doorbuster record ${shard} ${epoch} ${lastSeq}`);

/** Of the worker's span about the same record: in its trace. */
export const appliedIds = (shard: number, epoch: number, lastSeq: number): SpanIds => ({
  traceId: recordIds(shard, epoch, lastSeq).traceId,
  spanId: idsOf(`doorbuster applied ${shard} ${epoch} ${lastSeq}`).spanId,
});
