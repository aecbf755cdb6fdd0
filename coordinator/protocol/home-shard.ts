/** Between the ids: neither may hold it. */
const SLASH = 0x2f;

/**
 * FROZEN: a buyer's home shard may never change for a sale that runs. Only there a repeated request gets its first answer
 * (P3), so gateways of two versions, and a process written in another language, have to agree on it. The test holds the
 * vectors.
 *
 * The hash is 32 bits over the UTF-16 code units of `saleId`, "/", `uid` (all ASCII: ID_PATTERN). All arithmetic is on
 * 32 bits and `*` drops what is above them:
 *
 *     a = 0xdeadbeef; b = 0x41c6ce57
 *     for each unit u:  a = (a ^ u) * 0x9e3779b1;  b = (b ^ u) * 0x5f356495
 *     a = ((a ^ a >>> 16) * 0x85ebca6b) ^ ((b ^ b >>> 13) * 0xc2b2ae35)
 *     b = ((b ^ b >>> 16) * 0x85ebca6b) ^ ((a ^ a >>> 13) * 0xc2b2ae35)
 *
 * and its value is `b`, unsigned. (The low word of cyrb53's chains with seed 0, made of 53 bits by its author.)
 */
const homeHash = (saleId: string, uid: string): number => {
  let a = 0xdeadbeef | 0;
  let b = 0x41c6ce57;
  const length = saleId.length + 1 + uid.length;
  for (let i = 0; i < length; i += 1) {
    // The text is not put together first: that costs the hot path as much again.
    const unit = i < saleId.length ? saleId.charCodeAt(i) : i === saleId.length ? SLASH : uid.charCodeAt(i - saleId.length - 1);
    a = Math.imul(a ^ unit, 0x9e3779b1);
    b = Math.imul(b ^ unit, 0x5f356495);
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b) ^ Math.imul(b ^ (b >>> 13), 0xc2b2ae35);
  b = Math.imul(b ^ (b >>> 16), 0x85ebca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return b >>> 0;
};

/**
 * Where this buyer's purchases of the sale are decided: entry `hash % shards.length` of the sale's list.
 * @param shards `SaleRecord.shards`, in its order; at least one
 */
export const homeShard = (saleId: string, uid: string, shards: readonly number[]): number =>
  shards[shards.length === 1 ? 0 : homeHash(saleId, uid) % shards.length] as number;
