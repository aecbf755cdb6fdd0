/** Date's range to either side of 1970: beyond, toISOString throws. */
const DATE_MOST_MS = 8_640_000_000_000_000;

/** Whether it is a moment that a date can be made of. */
export const isMoment = (ms: number): boolean => Math.abs(ms) <= DATE_MOST_MS;

/** ms since 1970 as ISO 8601, UTC; undefined for what is no date, so that one strange number in a record breaks nothing. */
// oxlint-disable-next-line no-restricted-globals -- no clock is read: a given moment is written
export const isoTime = (ms: number): string | undefined => (isMoment(ms) ? new Date(ms).toISOString() : undefined);
