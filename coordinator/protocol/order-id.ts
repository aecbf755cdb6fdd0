import type { Position } from "#lua/core/position";

/**
 * An order id is the position of its purchase: shard, epoch, seq and index in the entry. No randomness, no second id,
 * no collision. Written `<shard>-<epoch>-<seq>-<index>`, each number in base 36.
 */
export interface OrderId extends Position {
  readonly shard: number;
  readonly index: number;
}

const ORDER_ID = /^(0|[1-9a-z][0-9a-z]{0,9})-(0|[1-9a-z][0-9a-z]{0,9})-(0|[1-9a-z][0-9a-z]{0,9})-(0|[1-9a-z][0-9a-z]{0,9})$/;

export const formatOrderId = (id: OrderId): string =>
  `${id.shard.toString(36)}-${id.epoch.toString(36)}-${id.seq.toString(36)}-${id.index.toString(36)}`;

/** @returns undefined if the text is not an order id */
export const parseOrderId = (text: string): OrderId | undefined => {
  const match = ORDER_ID.exec(text);
  if (match === null) return undefined;
  const number = (group: number): number => Number.parseInt(match[group] as string, 36);
  return { shard: number(1), epoch: number(2), seq: number(3), index: number(4) };
};
