import type { NatsConnection } from "nats";
import { publish } from "#program/requests/publish";
import type { DryHint } from "#protocol/hint";
import { publications } from "#protocol/requests/publications";

/** Tells the coordinators that units are wanted on a shard. */
export const hintDry = (nats: NatsConnection, shard: number, hint: DryHint): void => publish(nats, publications.dry, shard, hint);
