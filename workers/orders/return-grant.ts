/**
 * Id of the grant that gives a closed order's units back: made of the order's id, so that an order has one at most. It is
 * there if and only if the order is expired, cancelled or refunded; the auditor checks both directions.
 */
export const returnGrantId = (order: string): string =>
  `concat('r', ${order}.shard, '-', ${order}.epoch, '-', ${order}.seq, '-', ${order}.idx)`;

const RETURN = /^r\d+-\d+-\d+-\d+$/;

/** No other grant may be called so. */
export const isReturnGrantId = (id: string): boolean => RETURN.test(id);
