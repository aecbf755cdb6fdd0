import type { Clock } from "#protocol/ports";
import { SOLD_OUT_BELIEVED_MS } from "#protocol/sale";
import { Status } from "#lua/core/codes";
import { isRefused } from "#lua/core/script";
import type { UndroppedSale } from "./archive-ports.ts";
import type { AppliedPosition, SentGrant, SweepShards, SweepStore, UndeliveredSale } from "./sweep-ports.ts";

export interface SweepOptions {
  readonly store: SweepStore;
  readonly shards: SweepShards;
  readonly clock: Clock;
  readonly fault: (error: unknown) => void;
}

const byShard = <T extends { readonly shard: number }>(items: readonly T[]): Map<number, T[]> => {
  const shards = new Map<number, T[]>();
  for (const item of items) {
    const list = shards.get(item.shard);
    if (list === undefined) shards.set(item.shard, [item]);
    else list.push(item);
  }
  return shards;
};

const grantKey = (grant: SentGrant): string => `${grant.saleId}:${grant.grantId}`;

/** What a round has for one shard. */
interface ShardWork {
  readonly position: AppliedPosition;
  readonly sales: readonly UndeliveredSale[];
  readonly grants: readonly SentGrant[];
  readonly undropped: readonly UndroppedSale[];
}

/**
 * Brings to Redis what Postgres has recorded (DESIGN 7.3): definitions first, then units; tells it again how far Postgres is,
 * in case that was lost; and takes out of it what is archived (7.6). Everything is idempotent: any number of processes may sweep.
 */
export class Sweep {
  readonly #options: SweepOptions;
  /** grants of flagged sales -> when this process first saw them, which is after their commit and so after the flag was withdrawn */
  #firstSeenMs = new Map<string, number>();
  /** shard -> position that is settled in Redis */
  readonly #settled = new Map<number, string>();

  constructor(options: SweepOptions) {
    this.#options = options;
  }

  /** One round over all shards; faults of one shard do not touch the others. */
  async round(): Promise<void> {
    const { store } = this.#options;
    const undelivered = byShard(await store.undelivered());
    const due = byShard(this.#dueGrants(await store.sentGrants()));
    const positions = await store.positions();
    const archived = byShard(await store.undropped());
    await Promise.all(
      positions.map((position) => {
        const { shard } = position;
        const [sales = [], grants = [], undropped = []] = [undelivered.get(shard), due.get(shard), archived.get(shard)];
        return this.#sweepShard({ position, sales, grants, undropped });
      }),
    );
  }

  /**
   * A unit of a sale that was flagged waits until no gateway can believe the flag any more, or its buyer might be answered
   * `sold_out` (P5). Counted from when the grant was seen, because only that is certainly after the commit.
   */
  #dueGrants(grants: readonly SentGrant[]): SentGrant[] {
    const nowMs = this.#options.clock.monotonicMs();
    const seen = new Map<string, number>();
    const due = grants.filter((grant) => {
      if (!grant.flagged) return true;
      const firstMs = this.#firstSeenMs.get(grantKey(grant)) ?? nowMs;
      seen.set(grantKey(grant), firstMs);
      return nowMs - firstMs > SOLD_OUT_BELIEVED_MS;
    });
    this.#firstSeenMs = seen;
    return due;
  }

  async #sweepShard({ position, sales, grants, undropped }: ShardWork): Promise<void> {
    try {
      await this.#settle(position);
      if (await this.#defineSales(sales)) await this.#deliverGrants(grants);
      await this.#drop(undropped);
    } catch (error) {
      this.#options.fault(error);
    }
  }

  async #settle(position: AppliedPosition): Promise<void> {
    const text = `${position.epoch}-${position.applied}`;
    // While a constraint is violated Redis must not call refused orders confirmed.
    if (position.wall || position.applied === 0 || this.#settled.get(position.shard) === text) return;
    const { status } = await this.#options.shards.settle(position);
    // A worker that still talks to a server which was replaced hears `foreign`: the new one has not been settled.
    if (status !== Status.foreign) this.#settled.set(position.shard, text);
  }

  /** @returns false if the shard is not open in this epoch: there is nothing to do until it is */
  async #defineSales(sales: readonly UndeliveredSale[]): Promise<boolean> {
    const { shards, store } = this.#options;
    for (const sale of sales) {
      const status = await this.#ofOne(async () => (await shards.defineSale(sale)).status);
      if (status === Status.recovering || status === Status.foreign) return false;
      if (status !== undefined) await store.delivered(sale);
    }
    return true;
  }

  /** What a Redis refuses of one sale must not stand in the way of the others. @returns undefined if it did */
  async #ofOne<T>(call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call();
    } catch (error) {
      if (!isRefused(error)) throw error;
      this.#options.fault(error);
      return undefined;
    }
  }

  async #deliverGrants(grants: readonly SentGrant[]): Promise<void> {
    const { shards, store } = this.#options;
    const revocable = grants.filter((grant) => grant.revocable);
    const offered = revocable.length === 0 ? [] : await store.offer(revocable);
    for (const grant of [...grants.filter((other) => !other.revocable), ...offered]) {
      const status = await this.#ofOne(async () => (await shards.grant(grant)).status);
      if (status === Status.recovering || status === Status.foreign) return;
      if (status === Status.unknown) await store.notDelivered(grant.shard, grant.saleId);
    }
  }

  async #drop(sales: readonly UndroppedSale[]): Promise<void> {
    const { shards, store } = this.#options;
    for (const sale of sales) {
      const { status } = await shards.drop(sale);
      if (status === Status.recovering || status === Status.foreign) return;
      if (status === Status.ok) await store.dropped(sale);
    }
  }
}
