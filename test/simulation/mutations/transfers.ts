import { Status } from "#lua/core/codes";
import type { Mutation } from "./mutation.ts";
import { STOCK_MOVES } from "./profiles.ts";

/** Rules of moving units (DESIGN 7.3); what a crash may do to them is in the rules of the stores. */
export const TRANSFER_MUTATIONS: readonly Mutation[] = [
  {
    name: "units come",
    rule: "a unit that is left anywhere is brought to whoever asks",
    twins: () => ({ transferPorts: (ports) => ({ ...ports, withdraw: async () => ({ status: Status.stale }) }) }),
    profile: STOCK_MOVES,
  },
];
