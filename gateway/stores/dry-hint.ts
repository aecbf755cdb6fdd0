import type { NatsConnection } from "nats";
import type { DryHint } from "#protocol/hint";
import { drySubject } from "#protocol/subjects";

/** Tells the coordinators that units are wanted on a shard. Only our own shard's number goes into the subject. */
export const hintDry = (nats: NatsConnection, shard: number, hint: DryHint): void => {
  if (!nats.isClosed()) nats.publish(drySubject(shard), JSON.stringify(hint));
};
