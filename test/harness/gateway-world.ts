import { Redis } from "ioredis";
import { connect, type NatsConnection } from "nats";
import {
  publications,
  publicationSubject,
  requests,
  SALES_BUCKET,
  WORKERS,
  type PurchaseOrder,
  type SaleRecord,
  type SoldOutFlag,
  type StatusEvent,
  stateInRedis,
} from "#protocol";
import {
  acquireLease,
  closeShard,
  defineSale,
  grant,
  keepShard,
  openShard,
  parsePosition,
  readOutbox,
  settle,
  shardState,
  swapShard,
} from "#lua";
import { startNats, startRedis, type NatsServer, type RedisServer } from "./servers.ts";
import { saleRecord } from "./sale-record.ts";

/** How long a shard opened by hand stays open: as long as any test. */
const OPEN_MS = 3_600_000;
const TOKEN = "gateway-world";

/**
 * What a gateway meets: real Redis and NATS with shards that are opened by hand. No coordinator, no worker, no Postgres: what
 * those would do is done by a call, so that a test decides when. Starts one NATS and a Redis a shard, well under a second;
 * `stop` ends them.
 */
export class GatewayWorld {
  readonly redis: readonly RedisServer[];
  readonly nats: NatsServer;
  readonly connection: NatsConnection;
  /** answered to whoever asks for the sold-out flags; undefined = nobody answers */
  flags: readonly SoldOutFlag[] | undefined = [];
  readonly #clients: readonly Redis[];
  #attempts = 0;

  constructor(redis: readonly RedisServer[], nats: NatsServer, connection: NatsConnection) {
    this.redis = redis;
    this.nats = nats;
    this.connection = connection;
    this.#clients = redis.map((server) => {
      const client = new Redis(server.url, { retryStrategy: () => 20, maxRetriesPerRequest: null });
      client.on("error", () => undefined);
      return client;
    });
    connection.subscribe(requests.soldOutFlags.subject, {
      queue: WORKERS,
      callback: (error, message) => {
        if (error === null && this.flags !== undefined) message.respond(JSON.stringify({ ok: true, value: this.flags }));
      },
    });
  }

  client(shard: number): Redis {
    return this.#clients[shard] as Redis;
  }

  /** A worker tells that these sales are in Postgres, until the returned function is called; otherwise nobody answers. */
  answerSales(sales: readonly SaleRecord[]): () => void {
    const subscription = this.connection.subscribe(requests.findSales.subject, {
      queue: WORKERS,
      callback: (_error, message) => {
        const { ids } = message.json<{ ids: readonly string[] }>();
        message.respond(JSON.stringify({ ok: true, value: sales.filter(({ id }) => ids.includes(id)) }));
      },
    });
    return () => subscription.unsubscribe();
  }

  /**
   * A worker that says of every purchase that is asked about that it has the order of this state; nobody answers until this is called, and
   * after `stop` again.
   */
  answerOrders(orderOf: (uid: string) => PurchaseOrder | null): { readonly asked: readonly (readonly string[])[]; stop(): void } {
    const asked: (readonly string[])[] = [];
    const subscription = this.connection.subscribe(requests.purchaseOrders.subject, {
      queue: WORKERS,
      callback: (_error, message) => {
        const { purchases } = requests.purchaseOrders.body.parse(message.json());
        asked.push(purchases.map(({ uid }) => uid));
        message.respond(JSON.stringify({ ok: true, value: purchases.map(({ uid }) => orderOf(uid)) }));
      },
    });
    return { asked, stop: () => subscription.unsubscribe() };
  }

  /** Begins the next epoch on what Redis has (or the first, on nothing) and opens the shard. @returns the epoch */
  async openShard(shard: number): Promise<number> {
    const redis = this.client(shard);
    const attempt = `attempt${++this.#attempts}`;
    await acquireLease(redis, { shard, token: TOKEN, leaseMs: OPEN_MS });
    const closed = await closeShard(redis, { shard, token: TOKEN, attempt });
    if (closed.status !== "ok") throw new Error(`close: ${closed.status}`);
    const { epoch, last, replicationId } = closed;
    const begun =
      epoch === 0
        ? await swapShard(redis, { shard, attempt, replicationId, toEpoch: 1, sales: [], dropped: [] })
        : await keepShard(redis, { shard, attempt, replicationId, fromEpoch: epoch, upto: last, toEpoch: epoch + 1, archived: [] });
    if (begun.status !== "ok") throw new Error(`begin: ${begun.status}`);
    const opened = await openShard(redis, { shard, token: TOKEN, attempt, replicationId, epoch: epoch + 1, untilMs: Date.now() + OPEN_MS });
    if (opened.status !== "ok") throw new Error(`open: ${opened.status}`);
    return epoch + 1;
  }

  /** Puts a sale into the bucket and, with its units, on its shards. */
  async openSale(sale: Partial<SaleRecord> & { readonly id: string }, unitsPerShard: number): Promise<SaleRecord> {
    const record = await this.stockSale(sale, unitsPerShard);
    await this.putRecord(record);
    return record;
  }

  /** Puts a sale with its units on its shards, and not into the bucket. */
  async stockSale(sale: Partial<SaleRecord> & { readonly id: string }, unitsPerShard: number): Promise<SaleRecord> {
    const nowMs = Date.now();
    const window = { opensAtMs: nowMs - 60_000, closesAtMs: nowMs + 3_600_000 };
    const record = saleRecord({ title: sale.id, totalUnits: unitsPerShard, ...window, ...sale });
    for (const shard of record.shards) {
      const { epoch } = await shardState(this.client(shard), { shard });
      await this.define(record, shard, epoch);
      if (unitsPerShard > 0) await this.addUnits(record.id, `opening-${shard}`, unitsPerShard, shard);
    }
    return record;
  }

  async define(record: SaleRecord, shard: number, epoch: number): Promise<void> {
    const { id: saleId, version, limitPerBuyer: limit, opensAtMs, closesAtMs } = record;
    const state = stateInRedis(record.state);
    await defineSale(this.client(shard), { shard, epoch, saleId, version, state, limit, opensAtMs, closesAtMs });
  }

  async addUnits(saleId: string, grantId: string, units: number, shard = 0): Promise<void> {
    const { epoch } = await shardState(this.client(shard), { shard });
    const answer = await grant(this.client(shard), { shard, epoch, saleId, grantId, units });
    if (answer.status !== "ok") throw new Error(`grant: ${answer.status}`);
  }

  async putRecord(record: SaleRecord): Promise<void> {
    const bucket = await this.connection.jetstream().views.kv(SALES_BUCKET);
    await bucket.put(record.id, JSON.stringify(record));
  }

  /**
   * What a worker does with everything in the outbox: settles it and says so.
   * @param say false: the status event is lost
   * @returns the event
   */
  async apply(shard: number, { say = true, rejected = [] as [string, string][] } = {}): Promise<StatusEvent> {
    const redis = this.client(shard);
    const { epoch, applied, last } = await shardState(redis, { shard });
    const upto = parsePosition(last)?.seq ?? 0;
    const after = parsePosition(applied);
    const entries = await readOutbox(redis, {
      shard,
      after: after?.epoch === epoch ? after : { epoch, seq: 0 },
      count: 100_000,
    });
    const orders = entries.flatMap(({ entry }): [number, string, string][] =>
      entry.kind === "o" ? [[entry.seq, entry.saleId, entry.purchases]] : [],
    );
    await settle(redis, { shard, epoch, applied: upto });
    const event = { shard, epoch, applied: upto, orders, rejected };
    if (say) this.say(event);
    return event;
  }

  say(event: StatusEvent): void {
    this.connection.publish(publicationSubject(publications.status, event.shard), JSON.stringify(event));
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    await this.connection.close();
    await Promise.all([this.nats.stop(), ...this.redis.map((server) => server.stop())]);
  }
}

/** Servers with `shards` open, empty shards, each on a Redis of its own. */
export const startGatewayWorld = async (shards = 1): Promise<GatewayWorld> => {
  const [nats, ...redis] = await Promise.all([startNats(), ...Array.from({ length: shards }, () => startRedis())]);
  const connection = await connect({
    servers: nats.url,
    user: nats.user,
    pass: nats.pass,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
  });
  const world = new GatewayWorld(redis, nats, connection);
  for (let shard = 0; shard < shards; shard++) await world.openShard(shard);
  return world;
};
