import type { Profile } from "../options.ts";
import { ARCHIVE_MUTATIONS } from "./archive.ts";
import { COMPOSITION_MUTATIONS } from "./composition.ts";
import { COORDINATOR_PART_MUTATIONS } from "./coordinator-composition.ts";
import { COORDINATOR_MUTATIONS } from "./coordinator.ts";
import { HOLE, LATE_ENTRY, LATE_KEEP, LATE_SWAP, LEASE_LOST, OPEN_AGAIN, REFUSED_GRANT, STAGED_LOST } from "./directed.ts";
import { join } from "./join.ts";
import { MESSAGE_MUTATIONS } from "./messages.ts";
import type { Mutation } from "./mutation.ts";
import { BROKER, RESTARTS, STOCK_MOVES } from "./profiles.ts";
import { SOLD_OUT_MUTATIONS } from "./sold-out.ts";
import { REDIS_MUTATIONS, STORE_MUTATIONS } from "./stores.ts";
import { TRANSFER_MUTATIONS } from "./transfers.ts";
import { WORKER_COMPOSITION } from "./worker-composition.ts";
import { WORKER_MUTATIONS } from "./worker.ts";

const SINGLE: readonly Mutation[] = [
  ...MESSAGE_MUTATIONS,
  ...REDIS_MUTATIONS,
  ...STORE_MUTATIONS,
  ...COORDINATOR_MUTATIONS,
  ...WORKER_MUTATIONS,
  ...WORKER_COMPOSITION,
  ...SOLD_OUT_MUTATIONS,
  ...TRANSFER_MUTATIONS,
  ...ARCHIVE_MUTATIONS,
  ...COMPOSITION_MUTATIONS,
  ...COORDINATOR_PART_MUTATIONS,
];

const ruleOf = (name: string): Mutation => {
  const mutation = SINGLE.find((one) => one.name === name);
  if (mutation === undefined) throw new Error(`no mutation ${name}`);
  return mutation;
};

/** Walls that are touched only when another one has failed: broken with it, whether or not that one is noticed by itself. */
const BEHIND: readonly Mutation[] = [
  {
    name: "guard behind the repeats",
    rule: "`sold + n <= quota` stops a shard whose history is wrong",
    twins: () => join([ruleOf("repeats skipped").twins(), { postgres: { guard: false, uniqueKey: false } }]),
    profile: BROKER,
  },
  {
    name: "unique key behind the repeats",
    rule: "a buyer has one binding order a purchase, whatever the history says",
    twins: () => join([ruleOf("repeats skipped").twins(), { postgres: { uniqueKey: false } }]),
    profile: BROKER,
  },
  {
    name: "grant's two walls",
    rule: "a grant is taken in once in Redis and done once in Postgres",
    twins: () => join([ruleOf("grant once").twins(), { postgres: { grantOnce: false } }]),
    profile: STOCK_MOVES,
  },
  {
    name: "order and gaps",
    rule: "a shard's messages are handed out one at a time, and what does not follow is refused",
    twins: () => join([ruleOf("gap refusal").twins(), { log: { oneAtATime: false } }]),
    profile: BROKER,
  },
  {
    name: "latch and fence",
    rule: "latch and last step name the server",
    twins: () => join([ruleOf("latch by replication id").twins(), ruleOf("fenced last step").twins()]),
    profile: RESTARTS,
  },
];

const together = (names: readonly string[], profile: Profile, rule: string): Mutation => {
  const members = names.map(ruleOf);
  return { name: names.join(" + "), rule, twins: () => join(members.map(({ twins }) => twins())), profile, members };
};

/** Rules that cover each other. */
const TOGETHER: readonly Mutation[] = [
  together(["attempt in Redis", "keep's last id"], LATE_KEEP, "a keep that comes late finds another attempt, and another position"),
  together(["attempt in Redis", "swap only raises"], LATE_SWAP, "a swap that comes late finds another attempt, and a later epoch"),
  together(["swap counts", "fenced last step"], STAGED_LOST, "a server that lost staged keys is another one, and has too few"),
  together(["grant's epoch", "latch of grants"], REFUSED_GRANT, "a grant comes to no shard that is closed, or of another epoch"),
  together(["asked before the close", "lease lasts"], LEASE_LOST, "nobody has the lease beside its holder, and a marker of before is void"),
  together(["fenced last step", "permission's end"], OPEN_AGAIN, "an open that comes again finds another server, and is over"),
  together(
    ["gap heard", "forgotten by the broker"],
    LATE_ENTRY,
    "a gap is heard of, or it is seen that nobody is to apply what is missing",
  ),
  together(
    ["server's id", "gap heard", "forgotten by the broker"],
    HOLE,
    "nothing is appended behind a hole; a hole is heard of, or it is seen that nobody is to apply what is missing",
  ),
  together(
    ["log behind", "consumer anew", "forgotten by the broker"],
    BROKER,
    "entries that the log lost are missed, a new consumer says so, or nobody is to apply them",
  ),
  together(["consumer anew", "forgotten by the broker"], BROKER, "a new consumer says so, or nobody is to apply what it skips"),
  together(["ack after the commit", "forgotten by the broker"], BROKER, "what is acked is applied, or nobody is to apply it"),
  together(
    ["composition: worker's settler left out", "composition: worker's sweep settles nothing"],
    RESTARTS,
    "what is applied is settled in Redis by the settler, or by the sweep",
  ),
  together(["gap in the row", "forgotten by the broker"], LATE_ENTRY, "a gap is in the row, or nobody is to apply what is missing"),
];

export const MUTATIONS: readonly Mutation[] = [...SINGLE, ...BEHIND, ...TOGETHER];
