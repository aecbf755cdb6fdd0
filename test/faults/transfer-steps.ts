import { Redis } from "ioredis";
import { Client } from "pg";
import type { StackInfo } from "../../deploy/local/index.ts";
import { EntryKind, parsePosition, saleKeys, shardKeys, type Position } from "#lua";
import type { CrashPoint } from "./points.ts";

/** Where units are that are on their way from one shard to another. */
export const Midway = {
  /** taken out in the donor's Redis; Postgres has not applied it */
  withdrawn: "withdrawn",
  /** a grant in Postgres, which the receiver's Redis has not taken in */
  sent: "sent",
  /** in the receiver's Redis; for Postgres the grant is still under way */
  taken: "taken",
} as const;
export type Midway = (typeof Midway)[keyof typeof Midway];

/** A point at which a program dies, and where units have to be meanwhile. */
export interface Step extends Pick<CrashPoint, "program" | "point"> {
  readonly midway: readonly Midway[];
}

const { withdrawn, sent, taken } = Midway;
const anywhere = [withdrawn, sent, taken];
const steps = (program: CrashPoint["program"], midway: readonly Midway[], points: readonly string[]): readonly Step[] =>
  points.map((point) => ({ program, point, midway }));

/**
 * The steps of a transfer in their order. The withdrawal and its entry are one script, as are the units' arrival and its
 * entry: nothing can die in between. What an order comes to as well (an append, say) counts only while units are midway.
 */
export const STEPS: readonly Step[] = [
  // other units are on their way already when these are looked at, or about to be withdrawn
  ...steps("coordinator", anywhere, ["transfers.facts:after", "transfers.stock:after", "transfers.withdraw:before"]),
  // withdrawn; the entry is read, about to be appended, or in the log and not known to be there
  ...steps("coordinator", [withdrawn], ["transfers.withdraw:after", "outbox.read:after", "log.append:before"]),
  ...steps("coordinator", anywhere, ["log.append:after"]),
  // quota, grant and position are about to be committed together
  ...steps("workers", [withdrawn], ["apply.withdraw:before", "apply.withdraw:after", "apply.advance:after"]),
  // committed, then acknowledged, then Redis is told
  ...steps("workers", [sent], ["apply.transaction:after", "delivery.ack:before", "delivery.ack:after"]),
  ...steps("workers", [sent], ["settler.settle:before", "settler.settle:after", "sweep.sentGrants:after", "sweep.grant:before"]),
  // the receiver has the units
  ...steps("workers", [taken], ["sweep.grant:after"]),
  ...steps("coordinator", [taken], ["outbox.read:after", "log.append:before"]),
  // the grant is about to be done
  ...steps("workers", [taken], ["apply.takeGrants:before", "apply.takeGrants:after", "apply.advance:after"]),
];

interface InRedis {
  readonly epoch: number;
  readonly withdrawals: readonly Position[];
  /** ids of the grants taken in */
  readonly grants: ReadonlySet<string>;
}

/** Reads from the stores themselves, not by the auditor, whether units are on their way. */
export class TransferWatch {
  /** by shard */
  readonly #redis: readonly Redis[];
  readonly #postgres: Client;

  private constructor(redis: readonly Redis[], postgres: Client) {
    this.#redis = redis;
    this.#postgres = postgres;
  }

  static async open({ redis, databaseUrl }: StackInfo): Promise<TransferWatch> {
    const postgres = new Client({ connectionString: databaseUrl });
    await postgres.connect();
    const clients = redis.map(({ url }) => new Redis(url, { maxRetriesPerRequest: 1 }).on("error", () => undefined));
    return new TransferWatch(clients, postgres);
  }

  /**
   * @returns where units of the sale are on their way
   * @throws if a Redis is away or begins an epoch: nothing is known then
   */
  async midway(saleId: string): Promise<ReadonlySet<Midway>> {
    const shards = await Promise.all(this.#redis.map((redis, shard) => this.#shard(redis, shard, saleId)));
    const rows = await this.#rows("SELECT shard, epoch, applied FROM shards ORDER BY shard");
    const found = new Set<Midway>();
    for (const [shard, { epoch, withdrawals }] of shards.entries()) {
      const row = rows[shard];
      if (row === undefined || Number(row["epoch"]) !== epoch) throw new Error(`shard ${shard} begins an epoch`);
      if (withdrawals.some((at) => at.epoch === epoch && at.seq > Number(row["applied"]))) found.add(withdrawn);
    }
    const grants = await this.#rows("SELECT id, shard FROM grants WHERE kind = 'transfer' AND state = 'sent' AND sale_id = $1", [saleId]);
    for (const grant of grants) found.add(shards[Number(grant["shard"])]?.grants.has(String(grant["id"])) === true ? taken : sent);
    return found;
  }

  async close(): Promise<void> {
    for (const redis of this.#redis) redis.disconnect();
    await this.#postgres.end();
  }

  async #shard(redis: Redis, shard: number, saleId: string): Promise<InRedis> {
    const { epoch, outbox } = shardKeys(shard);
    const entries = await redis.xrange(outbox, "-", "+");
    const withdrawals = entries.flatMap(([id, pairs]) => {
      const value = (name: string): string | undefined => pairs[pairs.findIndex((item, n) => n % 2 === 0 && item === name) + 1];
      const position = parsePosition(id);
      return position !== undefined && value("k") === EntryKind.withdrawn && value("s") === saleId ? [position] : [];
    });
    const grants = await redis.smembers(saleKeys(shard, saleId).grants);
    return { epoch: Number(await redis.get(epoch)), withdrawals, grants: new Set(grants) };
  }

  async #rows(text: string, values: readonly unknown[] = []): Promise<readonly Readonly<Record<string, unknown>>[]> {
    return (await this.#postgres.query<Record<string, unknown>>(text, [...values])).rows;
  }
}
