/** What the network does to calls; probabilities for each. Calm weather has none of it. */
export interface Weather {
  /** the request never arrives: a time-out */
  lost: number;
  /** it is executed, its answer never arrives: a time-out that succeeded */
  unanswered: number;
  /** it is executed long after the caller gave it up */
  late: number;
  /** it fails at once and is not executed */
  refused: number;
  /** a message to the log arrives twice */
  repeated: number;
  /** it overtakes what was sent before it */
  overtaking: number;
  /** it takes up to a hundred times longer */
  slow: number;
}

export const CALM: Weather = { lost: 0, unanswered: 0, late: 0, refused: 0, repeated: 0, overtaking: 0, slow: 0.02 };
