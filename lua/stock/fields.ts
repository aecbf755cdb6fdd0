/**
 * What a buyers' hash holds, one spelling for the scripts, the restore and the auditor.
 *
 * A sale with limit 1 has one field a buyer: `<uid>` -> reservation.
 * A sale with a higher limit has one field a purchase, `<uid>:<key>` -> reservation (the key is the buyer's
 * Idempotency-Key, empty by default), and `<uid>` -> units the buyer holds in all.
 * A reservation is `<epoch>-<seq>-<index>-<units>`; with a leading `x` it was refused by Postgres (`rejected`).
 */
export interface Reservation {
  readonly epoch: number;
  readonly seq: number;
  /** place in its entry, from 0 */
  readonly index: number;
  readonly units: number;
  readonly rejected: boolean;
}

const RESERVATION = /^(x?)(\d+)-(\d+)-(\d+)-(\d+)$/;

export const formatReservation = (reservation: Reservation): string =>
  `${reservation.rejected ? "x" : ""}${reservation.epoch}-${reservation.seq}-${reservation.index}-${reservation.units}`;

/** @returns undefined if the text is not a reservation */
export const parseReservation = (text: string): Reservation | undefined => {
  const match = RESERVATION.exec(text);
  if (match === null) return undefined;
  return {
    rejected: match[1] === "x",
    epoch: Number(match[2]),
    seq: Number(match[3]),
    index: Number(match[4]),
    units: Number(match[5]),
  };
};

export const purchaseField = (limit: number, uid: string, key: string): string => (limit === 1 ? uid : `${uid}:${key}`);

/** One purchase as `reserve` takes it and as an `order` entry carries it. */
export interface Purchase {
  readonly uid: string;
  /** the buyer's Idempotency-Key, empty by default; always empty where the sale's limit is 1 */
  readonly key: string;
  readonly units: number;
}

/** `<uid>` for one unit without a key, otherwise `<uid>:<key>:<units>`: the plain case costs nothing extra. */
export const packPurchase = (purchase: Purchase): string =>
  purchase.key === "" && purchase.units === 1 ? purchase.uid : `${purchase.uid}:${purchase.key}:${purchase.units}`;

const PACKED = /^([A-Za-z0-9_-]{1,64})(?::([A-Za-z0-9_-]{0,64}):([1-9]\d{0,8}))?$/;

/** @returns undefined if the text is not a packed purchase */
export const unpackPurchase = (text: string): Purchase | undefined => {
  const match = PACKED.exec(text);
  if (match === null) return undefined;
  return { uid: match[1] as string, key: match[2] ?? "", units: match[3] === undefined ? 1 : Number(match[3]) };
};
