import type { Twins } from "../world.ts";
import { COORDINATOR_MUTATIONS, SOLD_OUT_MUTATIONS } from "./coordinator.ts";
import type { Mutation } from "./mutation.ts";
import { BROKER, RESTARTS, STOCK_MOVES } from "./profiles.ts";
import { MESSAGE_MUTATIONS } from "./messages.ts";
import { REDIS_MUTATIONS, STORE_MUTATIONS } from "./stores.ts";
import { WORKER_MUTATIONS } from "./worker.ts";

const SINGLE: readonly Mutation[] = [
  ...MESSAGE_MUTATIONS,
  ...REDIS_MUTATIONS,
  ...STORE_MUTATIONS,
  ...COORDINATOR_MUTATIONS,
  ...WORKER_MUTATIONS,
  ...SOLD_OUT_MUTATIONS,
];

const twinsOf = (name: string): Twins => {
  const mutation = SINGLE.find((one) => one.name === name);
  if (mutation === undefined) throw new Error(`no mutation ${name}`);
  return mutation.twins();
};

const join = (a: Twins, b: Twins): Twins => ({
  ...a,
  ...b,
  ...((a.redis ?? b.redis) ? { redis: { ...a.redis, ...b.redis } } : {}),
  ...((a.postgres ?? b.postgres) ? { postgres: { ...a.postgres, ...b.postgres } } : {}),
});

/** Walls that stand behind another rule: they are touched only when that one has failed. */
const PAIRS: readonly Mutation[] = [
  {
    name: "guard behind the repeats",
    rule: "`sold + n <= quota` stops a shard whose history is wrong",
    twins: () => join(twinsOf("repeats skipped"), { postgres: { guard: false, uniqueKey: false } }),
    profile: BROKER,
  },
  {
    name: "unique key behind the repeats",
    rule: "a buyer has one binding order a purchase, whatever the history says",
    twins: () => join(twinsOf("repeats skipped"), { postgres: { uniqueKey: false } }),
    profile: BROKER,
  },
  {
    name: "grant's two walls",
    rule: "a grant is taken in once in Redis and done once in Postgres",
    twins: () => join(twinsOf("grant once"), { postgres: { grantOnce: false } }),
    profile: STOCK_MOVES,
  },
  {
    name: "order and gaps",
    rule: "a shard's messages are handed out one at a time, and what does not follow is refused",
    twins: () => ({ ...twinsOf("gap refusal"), log: { oneAtATime: false } }),
    profile: BROKER,
  },
  {
    name: "latch and fence",
    rule: "latch and last step name the server",
    twins: () => join(twinsOf("latch by replication id"), twinsOf("fenced last step")),
    profile: RESTARTS,
  },
];

export const MUTATIONS: readonly Mutation[] = [...SINGLE, ...PAIRS];
