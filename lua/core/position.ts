/**
 * A position is the stream id `<epoch>-<seq>` of an outbox entry (DESIGN section 2). Redis numbers the
 * entries of an epoch without gaps (`XADD key 7-*`) and refuses an older epoch.
 */
export interface Position {
  readonly epoch: number;
  readonly seq: number;
}

const POSITION = /^(0|[1-9]\d{0,15})-(0|[1-9]\d{0,15})$/;

export const formatPosition = (position: Position): string => `${position.epoch}-${position.seq}`;

/** @returns undefined if the text is not a position */
export const parsePosition = (text: string): Position | undefined => {
  const match = POSITION.exec(text);
  if (match === null) return undefined;
  return { epoch: Number(match[1]), seq: Number(match[2]) };
};
