import type { Clock } from "#protocol/ports";

/** The same fault again is logged at most this often: a store that is away fails several times a second. */
const REPEAT_LOG_MS = 10_000;
/** Lines of a place in that time: a text that names a port or a sequence is never the same, and two faults may take turns. */
const LINES_MOST = 8;
/** Places remembered; beyond, the one that was longest quiet is forgotten. */
const PLACES_MOST = 1_000;

/** What goes into the line of a fault that is to be logged. */
interface News {
  /** faults of this place that were left out since its last line */
  readonly leftOut: number;
}

/** Whether a fault is to be logged; undefined: it is left out, and counted. */
export type IsNews = (where: string, text: string) => News | undefined;

interface Place {
  /** of its last line */
  text: string;
  loggedMs: number;
  /** begin of the stretch in which `lines` were logged */
  sinceMs: number;
  lines: number;
  leftOut: number;
}

/**
 * Lets each fault be logged when it is new, another one than before or long ago, with how many were left out.
 * @returns a function of where it happened and what it says
 */
export const rarely = (clock: Pick<Clock, "monotonicMs">): IsNews => {
  const places = new Map<string, Place>();
  const placeOf = (where: string, nowMs: number): Place => {
    const known = places.get(where);
    if (known !== undefined && nowMs - known.sinceMs <= REPEAT_LOG_MS) return known;
    places.delete(where);
    if (places.size >= PLACES_MOST) places.delete(places.keys().next().value as string);
    const place = {
      text: known?.text ?? "",
      loggedMs: known?.loggedMs ?? -Infinity,
      sinceMs: nowMs,
      lines: 0,
      leftOut: known?.leftOut ?? 0,
    };
    places.set(where, place);
    return place;
  };
  return (where, text) => {
    const nowMs = clock.monotonicMs();
    const place = placeOf(where, nowMs);
    const isRepeat = place.text === text && nowMs - place.loggedMs <= REPEAT_LOG_MS;
    if (isRepeat || place.lines >= LINES_MOST) {
      place.leftOut += 1;
      return undefined;
    }
    const { leftOut } = place;
    Object.assign(place, { text, loggedMs: nowMs, lines: place.lines + 1, leftOut: 0 });
    return { leftOut };
  };
};
