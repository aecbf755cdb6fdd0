import type { Clock } from "#protocol/ports";

/** The same fault again is logged at most this often: a store that is away fails several times a second. */
const REPEAT_LOG_MS = 10_000;
/** Different texts that a place may log in that time: a text that names a port or a sequence is never the same. */
const TEXTS_MOST = 8;
/** Places remembered; beyond, the one that was longest quiet is forgotten. */
const PLACES_MOST = 1_000;

/** What goes into the line of a fault that is to be logged. */
export interface News {
  /** faults of this place that were left out since its last line */
  readonly leftOut: number;
}

/** Whether a fault is to be logged; undefined: it is left out, and counted. */
export type IsNews = (where: string, text: string) => News | undefined;

interface Place {
  readonly sinceMs: number;
  readonly texts: Set<string>;
  leftOut: number;
}

/**
 * Lets each fault be logged when it is new and then rarely, with how many were left out.
 * @returns a function of where it happened and what it says
 */
export const rarely = (clock: Pick<Clock, "monotonicMs">): IsNews => {
  const places = new Map<string, Place>();
  return (where, text) => {
    const nowMs = clock.monotonicMs();
    let place = places.get(where);
    if (place === undefined || nowMs - place.sinceMs > REPEAT_LOG_MS) {
      places.delete(where);
      if (places.size >= PLACES_MOST) places.delete(places.keys().next().value as string);
      place = { sinceMs: nowMs, texts: new Set(), leftOut: place?.leftOut ?? 0 };
      places.set(where, place);
    }
    if (place.texts.has(text) || place.texts.size >= TEXTS_MOST) {
      place.leftOut += 1;
      return undefined;
    }
    place.texts.add(text);
    const { leftOut } = place;
    place.leftOut = 0;
    return { leftOut };
  };
};
