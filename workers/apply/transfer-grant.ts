import { formatPosition, type Position } from "#lua/core/position";

/**
 * Id of the grant that brings withdrawn units to their receiver: made of the place of the `withdrawn` entry, which is
 * applied once, so it needs no randomness and cannot be given twice.
 */
export const transferGrantId = (donor: number, withdrawn: Position): string => `t${donor}-${formatPosition(withdrawn)}`;

const TRANSFER = /^t\d+-\d+-\d+$/;

/** No other grant may be called so: its row would stand where the transfer's has to. */
export const isTransferGrantId = (id: string): boolean => TRANSFER.test(id);
