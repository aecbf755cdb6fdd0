import type { OutboxEntry } from "../../../coordinator/shards/relay/relay-ports.ts";
import type { ShardStore } from "../../../coordinator/shards/shard-ports.ts";
import type { Life } from "../kernel/process.ts";
import { op, Refused, Wire, type Exchange, type Op } from "../kernel/wire.ts";
import { acquireLease, closeShard, keepShard, openShard, releaseLease, renew, shardState, type Shard } from "../redis/index.ts";
import type { RedisServer } from "../redis/server.ts";
import type { World } from "../world.ts";

/** A command's time-out (coordinator.ts, worker.ts). */
const COMMAND_MS = 2_000;
const READ_MS = 5_000;

const STATE = op("redis state");
const LEASE = op("redis lease");
const RELEASE = op("redis release");
const CLOSE = op("redis close");
const KEEP = op("redis keep");
const OPEN = op("redis open");
const RENEW = op("redis renew");
const LIST = op("redis list sales for a coordinator");
const FLUSH = op("redis read for the flush");
const READ = op("redis read");

/** A life's connection to the server of one shard. */
export class RedisWire {
  readonly world: World;
  readonly shard: number;
  readonly #wire: Wire;
  readonly #life: Life;

  constructor(world: World, life: Life, shard: number, timeoutMs = COMMAND_MS) {
    this.world = world;
    this.shard = shard;
    this.#life = life;
    this.#wire = new Wire(life, world, () => this.server(), timeoutMs);
  }

  get isUp(): boolean {
    return this.#wire.isUp;
  }

  server(): RedisServer {
    return this.world.node(this.shard).of(this.#life.process);
  }

  /** Runs a script on the server that this connection leads to when it is sent. */
  run<T>(op: Op, script: (shard: Shard) => T): Promise<T> {
    const server = this.server();
    return this.#wire.call(op, () => {
      const { last } = server.data;
      const answer = script(server);
      const after = server.data.last;
      if (after !== undefined && after !== last && after.seq > 0) {
        const item = server.data.outbox.at(-1);
        if (item !== undefined) this.world.appended(this.shard, server, item.epoch, item.entry);
      }
      return answer;
    });
  }

  open<T>(op: Op, effect: (server: RedisServer, exchange: Exchange<T>) => void) {
    const server = this.server();
    return this.#wire.open<T>(op, (exchange) => effect(server, exchange));
  }
}

export const shardStoreOf = (world: World, life: Life, shard: number): ShardStore => {
  const redis = new RedisWire(world, life, shard);
  const say = (what: string): void => world.say(() => `${life.process.name} ${what} ${redis.server().name}`);
  return {
    state: () => redis.run(STATE, shardState),
    acquireLease: (token, leaseMs) => redis.run(LEASE, (server) => acquireLease(server, token, leaseMs)),
    releaseLease: (token) => redis.run(RELEASE, (server) => releaseLease(server, token)),
    close: (request) =>
      redis.run(CLOSE, (server) => {
        const closed = closeShard(server, request);
        say(`close ${closed.status} ${request.attempt} ${closed.status === "ok" ? `${closed.epoch} ${closed.last}` : ""}`);
        return closed;
      }),
    keep: (request) =>
      redis.run(KEEP, (server) => {
        const kept = keepShard(server, request);
        say(`keep ${request.toEpoch} ${kept.status}`);
        return kept;
      }),
    open: (request) =>
      redis.run(OPEN, (server) => {
        const opened = openShard(server, request);
        say(`open ${request.epoch} ${opened.status}`);
        return opened;
      }),
    renew: (request) => redis.run(RENEW, (server) => renew(server, request)),
    listSales: () => redis.run(LIST, ({ data }) => [...data.sales.keys()]),
    readOutbox: (after, count) => {
      const server = redis.server();
      return redis.run(FLUSH, () => server.entriesAfter(after, count));
    },
    openOutbox: () => {
      const own = new RedisWire(world, life, shard, READ_MS);
      let waiting: Exchange<readonly OutboxEntry[]> | undefined;
      let isClosed = false;
      return {
        read: async (after, count, blockMs) => {
          if (isClosed) throw new Refused("the connection is closed");
          const { answer, exchange } = own.open<readonly OutboxEntry[]>(READ, (server, held) => server.read(held, after, count, blockMs));
          waiting = exchange;
          return answer;
        },
        close: () => {
          isClosed = true;
          waiting?.abandon(new Refused("the connection is closed"));
        },
      };
    },
  };
};
