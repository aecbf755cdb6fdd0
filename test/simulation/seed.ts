import { expandMessages } from "./messages/options.ts";
import { expand } from "./options.ts";
import type { Plan } from "./result.ts";

/** Every so many seeds one is of the two-phase messages, the others are of the shards. */
const MESSAGES_EVERY = 5;

/** What a seed means to the command. */
export const planOf = (seed: number): Plan => (seed % MESSAGES_EVERY === 0 ? expandMessages(seed) : expand(seed));
