import { InvariantViolation } from "#lua/core/invariant";
import type { Entry } from "#lua/shard/entry";
import type { CoordinatorParts, KeeperPorts } from "../../coordinator/compose.ts";
import type { ShardLog } from "../../coordinator/shards/relay/relay-ports.ts";
import type { Rows, ShardStore } from "../../coordinator/shards/shard-ports.ts";
import type { SoldOutPorts } from "../../coordinator/sales/sold-out/sold-out-ports.ts";
import type { TransferPorts } from "../../coordinator/sales/transfers/transfer-ports.ts";
import type { composeBuyService } from "../../gateway/buy/compose.ts";
import type { SoldOutStore } from "../../gateway/sales/sold-out.ts";
import type { Delivery } from "../../workers/apply/delivery.ts";
import type { ApplyStore } from "../../workers/apply/apply-store.ts";
import type { WorkerPorts } from "../../workers/compose.ts";
import type { RestoreSource } from "../../workers/restore/restore-ports.ts";
import type { SweepShards, SweepStore } from "../../workers/sales/sweep-ports.ts";
import type { Random } from "#protocol/ports";
import type { SaleRecord } from "#protocol/sale";
import { Kernel, type Say } from "./kernel/kernel.ts";
import { Process, type Program } from "./kernel/process.ts";
import { type Network, type Trap } from "./kernel/wire.ts";
import { CALM, type Weather } from "./kernel/weather.ts";
import { Broker, LOG_RULES, type LogRules } from "./log/broker.ts";
import { Postgres } from "./postgres/postgres.ts";
import { POSTGRES_RULES, type PostgresRules } from "./postgres/tables.ts";
import { REDIS_RULES, type RedisRules } from "./redis/data.ts";
import { RedisNode, RedisServer } from "./redis/server.ts";
import type { MessageRules } from "./messages/rules.ts";
import { Ledger } from "./audit/ledger.ts";
import { News } from "./audit/news.ts";
import { FaultKind, type Options } from "./options.ts";
import { Bus } from "./programs/bus.ts";
import type { Counter } from "./programs/gateway.ts";

/**
 * What a mutation replaces: rules of the stores' models, or a port of the protocol code by a faulty twin of it. Each
 * twin gets the port that ships and the world that it is in.
 */
export interface Twins {
  readonly redis?: Partial<RedisRules>;
  readonly log?: Partial<LogRules>;
  readonly postgres?: Partial<PostgresRules>;
  readonly shardStore?: (store: ShardStore, shard: number, world: World) => ShardStore;
  readonly rows?: (rows: Rows, shard: number, world: World) => Rows;
  readonly shardLog?: (log: ShardLog, shard: number, world: World) => ShardLog;
  /** all of one keeper's ports together, behind those above */
  readonly keeper?: (ports: KeeperPorts) => KeeperPorts;
  /** which parts a coordinator is made of */
  readonly coordinatorParts?: (parts: CoordinatorParts) => CoordinatorParts;
  /** of a keeper */
  readonly random?: (random: Random, name: string) => Random;
  readonly soldOutPorts?: (ports: SoldOutPorts) => SoldOutPorts;
  readonly transferPorts?: (ports: TransferPorts) => TransferPorts;
  readonly soldOutStore?: (store: SoldOutStore) => SoldOutStore;
  /** a gateway that is put together without one of its parts */
  readonly composeBuyService?: typeof composeBuyService;
  readonly applyStore?: (store: ApplyStore, delivery: Delivery) => ApplyStore;
  readonly delivery?: (delivery: Delivery) => Delivery;
  readonly sweepStore?: (store: SweepStore) => SweepStore;
  readonly sweepShards?: (shards: SweepShards) => SweepShards;
  /** all of one worker's ports together, in front of those above */
  readonly workerPorts?: (ports: WorkerPorts) => WorkerPorts;
  /** of the two-phase messages */
  readonly messages?: Partial<MessageRules>;
  readonly restoreSource?: (source: RestoreSource) => RestoreSource;
}

/** One installation: its stores, its network, its processes, and what its buyers were told. */
export class World implements Network {
  readonly kernel: Kernel;
  readonly options: Options;
  readonly twins: Twins;
  readonly nodes: readonly RedisNode[];
  readonly broker: Broker;
  readonly postgres: Postgres;
  readonly ledger: Ledger;
  readonly processes: Process[] = [];
  readonly traps: (Trap[] | undefined)[] = [];
  readonly faults = new Map<string, number>();
  /** the bucket of sales, as workers have filled it */
  readonly bucket = new Map<string, SaleRecord>();
  readonly bus = new Bus(this);
  readonly news = new News(this);
  /** by gateway */
  readonly counters = new Map<Process, Counter>();
  weather: Weather = CALM;
  readonly daysPass: boolean;
  /** shards whose Redis lost something that it had answered for */
  readonly lossy = new Set<number>();
  readonly #cuts = new Map<string, number>();
  #ids = 0;

  constructor(options: Options, twins: Twins = {}, say?: Say) {
    this.options = options;
    this.daysPass = options.daysMs > 0;
    this.twins = twins;
    this.kernel = new Kernel(options.seed, say);
    this.ledger = new Ledger(this);
    const isReplicated = options.faults.some(({ kind }) => kind === FaultKind.redisFailover);
    const rules = { ...REDIS_RULES, ...twins.redis };
    this.nodes = Array.from(
      { length: options.shards },
      (_, shard) => new RedisNode(shard, new RedisServer(this.kernel, `redis${shard}`, rules, this.freshId, isReplicated)),
    );
    this.broker = new Broker(this.kernel, options.shards, { ...LOG_RULES, ...twins.log });
    this.postgres = new Postgres(this.kernel, options.shards, { ...POSTGRES_RULES, ...twins.postgres });
    this.postgres.onCommit = () => this.ledger.committed();
  }

  /** of a server's start: never the same twice */
  readonly freshId = (): string => `id${++this.#ids}`;

  readonly count = (fault: string): void => {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
  };

  add(program: Program): Process {
    const process = new Process(this.kernel, program);
    process.onCrash = (life) => {
      this.bus.forget(life);
      this.news.forget(life);
      this.kernel.after(this.kernel.draw.fraction() * 50, () => this.postgres.disconnect(life));
    };
    this.processes.push(process);
    return process;
  }

  node(shard: number): RedisNode {
    const node = this.nodes[shard];
    if (node === undefined) throw new Error(`no shard ${shard}`);
    return node;
  }

  cut(process: Process, target: string, ms: number): void {
    this.#cuts.set(`${process.name} ${target}`, this.kernel.nowMs + ms);
  }

  isCut(process: Process, target: string): boolean {
    return this.#cuts.size > 0 && (this.#cuts.get(`${process.name} ${target}`) ?? 0) > this.kernel.nowMs;
  }

  /** A store failed, or a broken port did: the protocol has to live with the first, and only the second is worth a look. */
  fault(where: string, error: unknown): void {
    // the engine's own checks, and slips of the code
    if (error instanceof InvariantViolation) this.ledger.violate("BROKEN", `${where}: ${error.message}`);
    if (error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError)
      this.ledger.violate("BROKEN", `${where}: ${error.stack ?? error.message}`);
    this.say(() => `${where}: ${error instanceof Error ? error.message : String(error)}`);
  }

  mend(): void {
    this.#cuts.clear();
    this.traps.length = 0;
  }

  say(line: () => string): void {
    this.kernel.say?.(this.kernel.nowMs, line());
  }

  /** A script has appended an entry: no two may have the same position. */
  appended(shard: number, server: RedisServer, epoch: number, entry: Entry): void {
    this.ledger.appended(shard, epoch, entry);
    this.say(
      () =>
        `${server.name} ${epoch}-${entry.seq} ${entry.kind === "o" ? entry.purchases : `${entry.kind} ${entry.units}`}` +
        (server === this.node(shard).current ? "" : " (the old server)"),
    );
    server.feed();
  }
}
