import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { connect, type NatsConnection } from "nats";
import { requests, SALES_BUCKET, stateInRedis, WORKERS, type SaleRecord, type SoldOutFlag } from "#protocol";
import {
  beginRun,
  findOrInstall,
  freePort,
  makePrograms,
  settled,
  startNats,
  startRedis,
  Store,
  until,
  type Environment,
  type NatsPart,
  type Programs,
  type RedisPart,
  type Run,
} from "../../deploy/local/index.ts";
import { acquireLease, closeShard, defineSale, grant, openShard, Status, stock, swapShard } from "#lua";
import type { Watched } from "../usage.ts";
import { callsOf, answeredOf, type Calls, type Answered } from "./answered.ts";

export interface FrontOptions {
  readonly environment: Environment;
  readonly say: (line: string) => void;
  readonly shards: number;
  /** gateway processes; 0 = one a core, the default */
  readonly processes: number;
  readonly appendfsync: "always" | "everysec";
}

/**
 * The selling front alone: the gateway program, its shards and NATS, each as in production. What coordinator and workers
 * would say about the sale is said by the bench, so that the refusal and the decision path are measured by themselves.
 */
export interface Front {
  readonly run: Run;
  readonly host: string;
  readonly port: number;
  readonly url: string;
  /** as DOORBUSTER_TICKET_KEYS takes them */
  readonly ticketKeys: string;
  watched(): Promise<Watched>;
  /** Puts a sale on all shards, `units` dealt evenly, and into the bucket; resolves when the gateway shows it. */
  openSale(id: string, units: number, limitPerBuyer?: number): Promise<SaleRecord>;
  /** From here on whoever asks hears that these sales are sold out. */
  flag(saleIds: readonly string[]): void;
  /** units left of a sale, over all shards */
  left(saleId: string): Promise<number>;
  /** answers that the gateway has given so far */
  answered(): Promise<Answered>;
  /** calls of its shards that the gateway has made so far */
  calls(): Promise<Calls>;
  stop(): Promise<void>;
}

/** Longer than any bench: nothing is renewed here. */
const OPEN_MS = 3_600_000;
const TOKEN = "bench";
const DAY_MS = 86_400_000;
const DIST = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Begins epoch 1 on an empty shard, step by step as a coordinator does (DESIGN 7.1), and opens it. */
const openEmpty = async (redis: Redis, shard: number): Promise<void> => {
  const attempt = `bench-${shard}`;
  await acquireLease(redis, { shard, token: TOKEN, leaseMs: OPEN_MS });
  const closed = await closeShard(redis, { shard, token: TOKEN, attempt });
  if (closed.status !== Status.ok) throw new Error(`close: ${closed.status}`);
  const { replicationId } = closed;
  const swapped = await swapShard(redis, { shard, attempt, replicationId, toEpoch: 1, sales: [], dropped: [] });
  if (swapped.status !== Status.ok) throw new Error(`swap: ${swapped.status}`);
  const opened = await openShard(redis, { shard, token: TOKEN, attempt, replicationId, epoch: 1, untilMs: Date.now() + OPEN_MS });
  if (opened.status !== Status.ok) throw new Error(`open: ${opened.status}`);
};

/** Puts `units` of a sale on an open shard of epoch 1. */
export const stockShard = async (redis: Redis, shard: number, record: SaleRecord, units: number): Promise<void> => {
  const { id: saleId, version, limitPerBuyer: limit, opensAtMs, closesAtMs } = record;
  const state = stateInRedis(record.state);
  const defined = await defineSale(redis, { shard, epoch: 1, saleId, version, state, limit, opensAtMs, closesAtMs });
  if (defined.status !== Status.ok) throw new Error(`sale: ${defined.status}`);
  const granted = await grant(redis, { shard, epoch: 1, saleId, grantId: `opening-${shard}`, units });
  if (granted.status !== Status.ok) throw new Error(`grant: ${granted.status}`);
};

export const saleRecord = (id: string, units: number, shards: readonly number[]): SaleRecord => ({
  id,
  campaign: "bench",
  title: "Bench",
  totalUnits: units,
  priceMinor: 9_900,
  currency: "CNY",
  opensAtMs: Date.now() - 60_000,
  closesAtMs: Date.now() + DAY_MS,
  limitPerBuyer: 1,
  payWithinMs: 0,
  state: "open",
  shards: [...shards],
  version: 1,
});

/** A Redis whose shard is open and empty. */
export const openRedis = async (url: string, shard: number): Promise<Redis> => {
  const redis = new Redis(url).on("error", () => undefined);
  await openEmpty(redis, shard);
  return redis;
};

const partsOf = (redis: readonly RedisPart[], nats: NatsPart, programs: Programs): (() => Promise<Watched>) => {
  const pids = (part: { readonly pid: number | undefined }): number[] => (part.pid === undefined ? [] : [part.pid]);
  return async () => ({
    gateway: await programs.parts.gateway.pids(),
    redis: redis.flatMap(({ part }) => pids(part)),
    nats: pids(nats.part),
  });
};

const build = async (run: Run, options: FrontOptions): Promise<Front> => {
  const binaries = await findOrInstall([Store.redis, Store.nats], { path: options.environment["PATH"] }, options.say);
  const [nats, ...redis] = await settled([
    startNats(run, { program: binaries.nats }),
    ...Array.from({ length: options.shards }, (_, shard) =>
      startRedis(run, { name: `redis-${shard}`, program: binaries.redis, appendfsync: options.appendfsync }),
    ),
  ]);
  const clients = await settled(redis.map(({ url }, shard) => openRedis(url, shard)));
  const connection: NatsConnection = await connect({ servers: nats.url, user: nats.user, pass: nats.pass });
  let flags: readonly SoldOutFlag[] = [];
  connection.subscribe(requests.soldOutFlags.subject, {
    queue: WORKERS,
    callback: (_error, message) => void message.respond(JSON.stringify({ ok: true, value: flags })),
  });
  const bucket = await connection.jetstream().views.kv(SALES_BUCKET);
  const programs = await makePrograms(run, DIST, { redis, nats, postgres: { url: "postgres://127.0.0.1:1/none" } });
  await programs.parts.gateway.start();
  const { port } = new URL(programs.gatewayUrl);
  return {
    run,
    host: "127.0.0.1",
    port: Number(port),
    url: programs.gatewayUrl,
    ticketKeys: programs.ticketKeys,
    watched: partsOf(redis, nats, programs),
    openSale: async (id, units, limitPerBuyer = 1) => {
      const shards = clients.map((_, shard) => shard);
      const record = { ...saleRecord(id, units, shards), limitPerBuyer };
      const share = Math.ceil(units / clients.length);
      await settled(clients.map((client, shard) => stockShard(client, shard, record, share)));
      await bucket.put(id, JSON.stringify(record));
      await until(async () => (await fetch(`${programs.gatewayUrl}/sales/${id}`)).ok, `the gateway to show the sale ${id}`);
      return record;
    },
    flag: (saleIds) => {
      flags = saleIds.map((saleId) => ({ saleId, version: 1 }));
    },
    left: async (saleId) => {
      const all = await settled(clients.map((client, shard) => stock(client, { shard, saleId })));
      return all.reduce((sum, state) => sum + (state.status === Status.ok ? state.left : 0), 0);
    },
    answered: () => answeredOf(programs.metricsUrls.gateway),
    calls: () => callsOf(programs.metricsUrls.gateway),
    stop: async () => {
      for (const client of clients) client.disconnect();
      await connection.close();
      await programs.parts.gateway.stop();
      await settled([nats.part.stop(), ...redis.map(({ part }) => part.stop())]);
      await run.end();
    },
  };
};

/** Starts a front with empty, open shards. Nothing stays behind if that fails. */
export const startFront = async (options: FrontOptions): Promise<Front> => {
  const environment = {
    ...options.environment,
    ...(options.processes === 0 ? {} : { DOORBUSTER_GATEWAY_PROCESSES: String(options.processes) }),
    DOORBUSTER_GATEWAY_PORT: String(await freePort()),
  };
  const run = await beginRun({ environment, say: () => undefined });
  try {
    return await build(run, options);
  } catch (error) {
    await run.end();
    throw error;
  }
};
