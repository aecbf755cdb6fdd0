import type { z } from "zod";
import { dryHintSchema } from "../hint.ts";
import { attemptNewsSchema } from "../shard-facts.ts";
import { appliedEventSchema, ordersChangedSchema, statusEventSchema } from "../status.ts";

/** What one program tells all others about a shard, on core NATS. A convenience each: a lost one is made up for. */
export interface Publication<Body extends z.ZodType = z.ZodType> {
  /** of each shard: this, a point and its number. Only our own numbers: a subject of user input would let that input inject protocol */
  readonly prefix: string;
  readonly body: Body;
}

const about = <Body extends z.ZodType>(prefix: string, body: Body): Publication<Body> => ({ prefix, body });

export const publications = {
  /** a worker has applied entries */
  status: about("doorbuster.status", statusEventSchema),
  /** the same for who only wants to know how far: its orders may be a thousand */
  applied: about("doorbuster.status", appliedEventSchema),
  /** orders that were stored have changed: what is believed of them is not to be believed any more */
  ordersChanged: about("doorbuster.orders-changed", ordersChangedSchema),
  /** a buyer asked for units of a sale on this shard and there were too few; the next buyer who asks says it again */
  dry: about("doorbuster.dry", dryHintSchema),
  /** where an attempt to begin an epoch is */
  attempt: about("doorbuster.attempt", attemptNewsSchema),
} as const satisfies Readonly<Record<string, Publication>>;

export const publicationSubject = ({ prefix }: Publication, shard: number): string => `${prefix}.${shard}`;

/** The publication about every shard. */
export const everyShard = ({ prefix }: Publication): string => `${prefix}.*`;

const SHARD = /^(0|[1-9]\d{0,4})$/;

/** @returns the number of the shard, or undefined if it is none of ours */
export const shardOfSubject = ({ prefix }: Publication, subject: string): number | undefined => {
  const text = subject.slice(prefix.length + 1);
  return SHARD.test(text) ? Number(text) : undefined;
};
