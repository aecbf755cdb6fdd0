import type { CoordinatorPart, CoordinatorParts } from "../../../coordinator/compose.ts";
import { MIXED, type Profile } from "../options.ts";
import type { Twins } from "../world.ts";
import type { Mutation } from "./mutation.ts";
import { STOCK_MOVES } from "./profiles.ts";

export const withoutPart = (left: CoordinatorPart): Twins => ({
  coordinatorParts: (parts) => Object.fromEntries(Object.entries(parts).filter(([part]) => part !== left)) as CoordinatorParts,
});

/** What is missed if a part is left out: a promise, by a schedule of some profile, or else nothing that a promise is about. */
type Missed = { readonly rule: string; readonly profile: Profile } | { readonly elsewhere: string };

/** Every part of the coordinator's composition: the compiler asks for the new ones. */
export const MISSED: Readonly<Record<CoordinatorPart, Missed>> = {
  keepers: { rule: "somebody looks after each shard", profile: MIXED },
  mover: { rule: "units are brought to whoever asks", profile: STOCK_MOVES },
  dryFeed: { rule: "the mover hears who asks in vain", profile: STOCK_MOVES },
  soldOutWatch: { rule: "a sale of which every unit is sold is flagged", profile: STOCK_MOVES },
  // A keeper reads the row with every renewal, and tells its relay: without the feed entries linger for 25 ms where they need not.
  appliedFeed: { elsewhere: "coordinator-composition.test.ts: how long entries wait in the outbox" },
  // Keepers look by themselves after their back-off, the sales are tried again each second: without a wake-up that is how long it takes.
  brokerWake: { elsewhere: "coordinator-composition.test.ts: how soon entries are appended after a restart of the broker" },
  redisWake: { elsewhere: "coordinator-composition.test.ts: how soon a shard opens after a restart of its Redis" },
  // Simulated coordinators are born with the sales; the bucket that is followed is real in coordinator.test.ts and test/scenarios.
  sales: { elsewhere: "every test of a program that decides about a sale" },
};

/** A coordinator that was put together without one of its parts. */
export const COORDINATOR_PART_MUTATIONS: readonly Mutation[] = Object.entries(MISSED).flatMap(([part, missed]) =>
  "elsewhere" in missed
    ? []
    : [
        {
          name: `composition: ${part} left out`,
          rule: missed.rule,
          twins: () => withoutPart(part as CoordinatorPart),
          profile: missed.profile,
        },
      ],
);
