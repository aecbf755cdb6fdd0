import { placeOf } from "./keys.ts";

/** What always holds, whatever fails. Each is looked at where it costs nothing beside what is done there anyway. */
export const Invariant = {
  /** a sale has a whole number of units on a shard, none or more */
  stock: "stock",
  /** a buyer's field is one that `reserve` or a rebuild has written */
  reservation: "reservation",
  /** an outbox holds entries of ours and nothing else */
  entry: "entry",
  /** a closed sale stays closed */
  saleState: "sale_state",
  /** Postgres has applied no entry that an open shard never made */
  settled: "settled",
  /** Postgres has what it once said that it has */
  history: "history",
  /** what a worker applies brings the shard forward */
  position: "position",
} as const;
export type Invariant = (typeof Invariant)[keyof typeof Invariant];

/**
 * An invariant does not hold; nothing was changed, and whoever found that refuses to go on from there, because selling
 * wrongly would be worse than not selling. Our programs count it by invariant (`doorbuster_*_invariant_violations_total`), and the process that
 * is the first to find it ends, because its own memory may be what is wrong (coordinator/program/violations.ts).
 */
export class InvariantViolation extends Error {
  override readonly name: string = "InvariantViolation";
  readonly invariant: Invariant;
  /** where it was found: a shard's hash tag, with the sale's id if it is of one sale, or a key */
  readonly place: string;

  /** @param found what was there; may be another text each time, unlike the place */
  constructor(invariant: Invariant, place: string, found: string, options?: ErrorOptions) {
    super(`INVARIANT ${invariant} at ${place}: ${found}`, options);
    this.invariant = invariant;
    this.place = place;
  }
}

const REPLY = /^INVARIANT ([a-z_]+): (.*)$/s;
const isInvariant = (text: string): text is Invariant => (Object.values(Invariant) as string[]).includes(text);

/**
 * What a script's refusal says, if it is one of these.
 * @param keys the script's
 */
export const violationIn = (error: unknown, keys: readonly string[]): InvariantViolation | undefined => {
  const [, invariant = "", found = ""] = REPLY.exec(error instanceof Error ? error.message : "") ?? [];
  return isInvariant(invariant) ? new InvariantViolation(invariant, placeOf(keys), found, { cause: error }) : undefined;
};
