import type { Clock, Random } from "#protocol/ports";
import type { SaleRecord } from "#protocol/sale";
import type { AttemptNews } from "#protocol/shard-facts";
import type { SoldOutPorts } from "./sales/sold-out/sold-out-ports.ts";
import { watchSoldOut } from "./sales/sold-out/watch.ts";
import { Mover } from "./sales/transfers/mover.ts";
import type { Move } from "./sales/transfers/policy.ts";
import type { TransferPorts } from "./sales/transfers/transfer-ports.ts";
import { tellAttempts } from "./shards/attempt/news.ts";
import { Keeper } from "./shards/keeper.ts";
import type { KeeperObserver } from "./shards/keeper-observer.ts";
import type { ShardLog } from "./shards/relay/relay-ports.ts";
import type { Rows, ShardStore, StoreSettings } from "./shards/shard-ports.ts";

/** What a keeper sees of the outside. */
export interface KeeperPorts {
  readonly store: ShardStore;
  readonly rows: Rows;
  readonly log: ShardLog;
  readonly settings: StoreSettings;
}

/** The sales as they are known now, by whatever follows them. */
interface SalesPort {
  all(): Iterable<SaleRecord>;
  get(saleId: string): SaleRecord | undefined;
  /** follows them until stopped */
  run(stop: AbortSignal): Promise<void>;
}

/**
 * What others tell a coordinator. Any of it may get lost, come late or come twice: whoever hears it has a clock of its own by
 * which it looks anyway. Listeners are never taken off: a coordinator listens as long as its process lives.
 */
export interface CoordinatorFeeds {
  /** a worker has applied everything of the shard's epoch up to `seq` */
  onApplied(listener: (shard: number, epoch: number, seq: number) => void): void;
  /** a buyer asked for so many units of a sale on this shard, and there were too few */
  onDry(listener: (shard: number, saleId: string, units: number) => void): void;
  /** the broker is there again, perhaps another run of it */
  onBrokerBack(listener: () => void): void;
  /** a shard's Redis is there, or there again */
  onRedisBack(listener: (shard: number) => void): void;
}

/** What happens in a coordinator, for logs and metrics. */
export interface CoordinatorObserver {
  /** what the keeper of a shard reports to */
  shard(shard: number): KeeperObserver;
  soldOut(saleId: string): void;
  /** units were taken out of a shard for another */
  moved(saleId: string, move: Move): void;
  /** @param where `sales`, `sold-out` or `transfers` */
  fault(where: string, error: unknown): void;
}

export interface CoordinatorPorts {
  /** by shard number */
  readonly shards: readonly KeeperPorts[];
  readonly sales: SalesPort;
  readonly soldOut: SoldOutPorts;
  readonly transfers: TransferPorts;
  readonly feeds: CoordinatorFeeds;
  /** tells everybody who listens where an attempt to begin an epoch is */
  readonly publishAttempt: (shard: number, news: AttemptNews) => void;
  readonly observer: CoordinatorObserver;
  readonly clock: Clock;
  readonly random: Random;
  /** what this process calls itself, for people who look at a lease */
  readonly holder: string;
}

export interface CoordinatorPolicy {
  /** lifetime of a shard's lease */
  readonly leaseMs: number;
  /** lifetime of a shard's permission to sell */
  readonly openMs: number;
}

export interface ComposedCoordinator {
  /** by shard number */
  readonly keepers: readonly Keeper[];
  /** what nobody looks after, for people; empty if every shard is looked after */
  missing(): readonly string[];
  /** outboxes that do not move, for people */
  stuck(): readonly string[];
  /** Runs until stopped, then gives the leases up. Once. */
  run(stop: AbortSignal): Promise<void>;
}

/** What the parts are started with. */
interface Core {
  readonly ports: CoordinatorPorts;
  readonly keepers: readonly Keeper[];
  readonly mover: Mover;
  /** this process looks after the shard, and it was open when it looked last */
  readonly isOurs: (shard: number) => boolean;
}

type Part = (core: Core, stop: AbortSignal) => Promise<unknown> | void;

/** What a coordinator consists of, in the order in which it is started: what listens, and then what runs. */
export const COORDINATOR_PARTS = {
  /** the relays pace themselves by what is applied */
  appliedFeed: ({ ports, keepers }) => ports.feeds.onApplied((shard, epoch, seq) => keepers[shard]?.heardApplied(epoch, seq)),
  /** units go where they are asked for in vain */
  dryFeed: ({ ports, mover }) => ports.feeds.onDry((shard, saleId, units) => mover.hint(shard, saleId, units)),
  /** whoever waits for the broker looks at once */
  brokerWake: ({ ports, keepers }) =>
    ports.feeds.onBrokerBack(() => {
      for (const keeper of keepers) keeper.wake();
    }),
  /** whoever waits for a Redis looks at once */
  redisWake: ({ ports, keepers }) => ports.feeds.onRedisBack((shard) => keepers[shard]?.wake()),
  keepers: ({ keepers }, stop) => Promise.all(keepers.map((keeper) => keeper.run(stop))),
  sales: ({ ports }, stop) => ports.sales.run(stop),
  mover: ({ mover }, stop) => mover.run(stop),
  soldOutWatch: ({ ports, isOurs }, stop) => {
    const { observer, sales, clock } = ports;
    return watchSoldOut(
      {
        ports: ports.soldOut,
        clock,
        sales: () => sales.all(),
        isOurs,
        decided: (saleId) => observer.soldOut(saleId),
        fault: (error) => observer.fault("sold-out", error),
      },
      stop,
    );
  },
} as const satisfies Readonly<Record<string, Part>>;
export type CoordinatorPart = keyof typeof COORDINATOR_PARTS;
export type CoordinatorParts = Readonly<Partial<Record<CoordinatorPart, Part>>>;

/**
 * A coordinator: a keeper for every shard, the decisions about sales, and what wakes whom. The program, the simulation and the
 * tests all run this one.
 * @param parts all of them; the simulation leaves one out, and sees that it is missed
 */
export const composeCoordinator = (
  ports: CoordinatorPorts,
  policy: CoordinatorPolicy,
  parts: CoordinatorParts = COORDINATOR_PARTS,
): ComposedCoordinator => {
  const keepers = ports.shards.map((each, shard) => composeKeeper(ports, policy, each, shard));
  const isOurs = (shard: number): boolean => keepers[shard]?.isOpen === true;
  const core: Core = { ports, keepers, mover: composeMover(ports, isOurs), isOurs };
  return {
    keepers,
    missing: () => keepers.filter((keeper) => !keeper.isSettled).map(({ shard }) => `shard ${shard}`),
    stuck: () => keepers.flatMap((keeper) => keeper.stuck ?? []),
    run: async (stop) => {
      await Promise.all(Object.values(parts).map((part) => Promise.resolve(part(core, stop))));
    },
  };
};

const composeKeeper = (
  ports: CoordinatorPorts,
  policy: CoordinatorPolicy,
  { store, rows, log, settings }: KeeperPorts,
  shard: number,
): Keeper => {
  const { clock, random, holder, observer, publishAttempt } = ports;
  const { leaseMs, openMs } = policy;
  const announcing = tellAttempts(observer.shard(shard), { shard, holder }, (news) => publishAttempt(shard, news));
  return new Keeper({ shard, leaseMs, openMs, holder, store, rows, log, settings, clock, random, observer: announcing });
};

const composeMover = ({ transfers, clock, sales, observer }: CoordinatorPorts, isOurs: (shard: number) => boolean): Mover =>
  new Mover({
    ports: transfers,
    clock,
    sale: (saleId) => sales.get(saleId),
    sales: () => sales.all(),
    isOurs,
    moved: (saleId, move) => observer.moved(saleId, move),
    fault: (error) => observer.fault("transfers", error),
  });
