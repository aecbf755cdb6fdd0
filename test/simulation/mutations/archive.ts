import type { WorkerPorts } from "../../../workers/compose.ts";
import type { Mutation } from "./mutation.ts";
import { ARCHIVE, ARCHIVE_BETWEEN, ARCHIVE_LATE, ARCHIVE_LOST, ARCHIVE_REBUILT, ARCHIVE_UNAPPLIED } from "./archive-profiles.ts";
import type { PostgresRules } from "../postgres/tables.ts";
import type { RedisRules } from "../redis/data.ts";
import type { Profile } from "../options.ts";
import { editedGateway, type Edit, type EditedGateway } from "./built-gateway.ts";

const postgres = (name: string, rule: string, off: keyof PostgresRules, profile: Profile = ARCHIVE): Mutation => ({
  name: `archive: ${name}`,
  rule,
  twins: () => ({ postgres: { [off]: false } }),
  profile,
});

const redis = (name: string, rule: string, off: keyof RedisRules, profile: Profile = ARCHIVE): Mutation => ({
  name: `archive: ${name}`,
  rule,
  twins: () => ({ redis: { [off]: false } }),
  profile,
});

const worker = (
  name: string,
  rule: string,
  change: (ports: WorkerPorts) => Partial<WorkerPorts>,
  profile: Profile = ARCHIVE,
): Mutation => ({
  name: `archive: ${name}`,
  rule,
  twins: () => ({ workerPorts: (ports) => ({ ...ports, ...change(ports) }) }),
  profile,
});

const gateway = (name: string, rule: string, edit: Edit): EditedGateway =>
  editedGateway({ name: `archive: ${name}`, rule, profile: ARCHIVE }, edit);

/**
 * The gateway that was built, with another text in one place. Not here, because no promise can see it: the look-ups' tick, which answers
 * who waits behind workers that are slow; a question to them ends by itself.
 */
export const ARCHIVE_EDITS: readonly EditedGateway[] = [
  gateway("holders are looked up", "who buys in an archived sale hears what Postgres has", {
    file: "compose",
    from: "new Batcher(archivedOperation(ports.purchaseOrders), {",
    to: "new Batcher(archivedOperation(async (_sale, purchases) => purchases.map(() => null)), {",
  }),
  gateway("what Redis misses is searched", "a gateway that heard of no archiving asks when a Redis does not know the sale", {
    file: "compose",
    from: "search.find(saleId, () => undefined)",
    to: "undefined",
  }),
];

/** Rules of archiving (DESIGN 7.6). */
export const ARCHIVE_MUTATIONS: readonly Mutation[] = [
  postgres("orders that are pending", "no sale is archived while an order of it is pending", "archivePending"),
  postgres("grants that are undone", "no sale is archived while units are on their way", "archiveGrants"),
  postgres(
    "what was seen is applied",
    "a sale is archived when Postgres has all that was seen in the outboxes",
    "archiveApplied",
    ARCHIVE_UNAPPLIED,
  ),
  postgres("epochs that were looked at", "a sale is archived by a look at the epochs that the rows are in", "archiveEpochs", ARCHIVE_LOST),
  postgres("rebuilds leave it out", "a rebuild writes no archived sale", "restoreArchived", ARCHIVE_REBUILT),
  postgres("refunds in Postgres alone", "a refund sends no unit of an archived sale to Redis", "refundArchived"),
  postgres("bucket without it", "the bucket has no archived sale", "bucketArchived"),
  redis("keep takes it out", "a kept Redis that lost the closing does not sell on", "keepArchives", ARCHIVE_LOST),
  redis("its id stays", "no definition that comes late makes it anew", "archivedStays", ARCHIVE_LATE),
  redis("units of closed sales rest", "units of a closed sale are not withdrawn", "withdrawClosed"),
  worker("closed in Redis", "a sale is archived when every shard's Redis has it closed", ({ archive }) => ({
    archive: {
      ...archive,
      shards: {
        ...archive.shards,
        stock: async (shard, saleId) => {
          const stock = await archive.shards.stock(shard, saleId);
          return stock.status === "ok" ? { ...stock, state: "closed" } : stock;
        },
      },
    },
  })),
  worker(
    "entries after the closing",
    "the last entry is looked at after the sale was seen closed",
    ({ archive }) => {
      const states = new Map<number, ReturnType<typeof archive.shards.state>>();
      return {
        archive: {
          ...archive,
          shards: {
            // the outbox first, and then the sale
            stock: async (shard, saleId) => {
              states.set(shard, archive.shards.state(shard));
              await states.get(shard);
              return archive.shards.stock(shard, saleId);
            },
            state: (shard) => states.get(shard) ?? archive.shards.state(shard),
          },
        },
      };
    },
    ARCHIVE_BETWEEN,
  ),
  worker("sweep takes it out", "what is archived leaves Redis", ({ sweep }) => ({
    sweep: { ...sweep, store: { ...sweep.store, undropped: async () => [] } },
  })),
  worker("worker's archiving left out", "a worker archives what ended long ago", ({ archive }) => ({
    archive: { ...archive, store: { ...archive.store, due: async () => [] } },
  })),
  ...ARCHIVE_EDITS,
];
