import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";
import { Coordinator, Message } from "../../coordinator/messages/client/index.ts";
import { beginRun, findOrInstall, startNats, startRedis, Store, until, type NatsPart, type Run } from "../../deploy/local/index.ts";
import { loadMessages } from "../load/messages.ts";
import { generatorOf, send, type Sent } from "../load/send.ts";
import { startDtmPeer, type DtmPeer } from "../peers/peer.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { confine, NotConfined } from "../servers/cpu-share.ts";
import { startCoordinator } from "../servers/coordinator.ts";
import { startPurchaseService } from "../servers/purchase-service.ts";
import { interleaved, type Compared, type Trial } from "../trials.ts";
import type { Watched } from "../usage.ts";

/** Two-phase messages: the coordinator as a service for others (DESIGN 6). Every Redis has `appendfsync always`, dtm's too. */
const SHARDS = [1, 2, 4];
const WON = "messages.purchase";
const SOLD_OUT = "messages.purchase.refusals";
const CROWD = "messages.purchase.crowd";
const SHIPPED = "messages.purchase.shipped";
const CRASHED = "messages.crashed";
const byShards = (shards: number): string => `messages.${shards}`;
/** Twice as many, and four times. */
const SLOW_SHARDS = [2, 4];
const SLOW_SHARE = 0.05;
const bySlow = (shards: number): string => `messages.slow.${shards}`;

/** A larger setup is built for a larger crowd, and the batches stay as large as they were. */
const SENDERS_A_SHARD = 256;
const CONNECTIONS = 64;
/** A sale's opening: the batches of our client grow with it, what dtm does for a purchase stays what it is. */
const CROWD_CONNECTIONS = 256;
const WARM_UP_MS = 1_000;
/** Until V8 has compiled our programs; the same for dtm. */
const WARM_UP_S = 3;
const UNITS = 1_000_000_000;
const STOCK = "{a}--stock";
const WIN = "prepare, take a unit behind the barrier, submit";
const CRASHED_MESSAGES = 1_000;
const QUERY_MS = 100;
const DUE_S = 2;
const DECIDED_WITHIN_MS = 60_000;
const DURABILITY = "Redis appendfsync always";

interface Setup {
  readonly run: Run;
  readonly redisServer: string;
  readonly nats: NatsPart;
  /** undefined where it cannot be built */
  readonly dtm: DtmPeer | undefined;
}

const dtmOrNone = async (bench: Bench, run: Run, client: "shipped" | "tuned"): Promise<DtmPeer | undefined> => {
  bench.step(`starting dtm, its client ${client}`);
  const dtm = await startDtmPeer(run, client);
  if (typeof dtm !== "string") return dtm;
  bench.skip(`the reference of messages: ${dtm}; ours is measured alone`);
  return undefined;
};

/** A coordinator and the Redis servers of its shards. */
interface Shards {
  readonly count: number;
  readonly url: string;
  readonly watched: Watched;
  stop(): Promise<void>;
}

/** @param share of one core that each Redis gets; undefined = what it can get */
const startShards = async ({ run, redisServer, nats }: Setup, count: number, name: string, share?: number): Promise<Shards> => {
  const redis = await Promise.all(
    Array.from({ length: count }, (_, shard) => startRedis(run, { name: `${name}-${count}-redis-${shard}`, program: redisServer })),
  );
  const pids = redis.flatMap(({ part }) => part.pid ?? []);
  const confined = share === undefined ? undefined : await confine(pids, share);
  const coordinator = await startCoordinator(
    run,
    redis.map(({ url }) => url),
    nats,
  );
  return {
    count,
    url: coordinator.url,
    watched: { coordinator: await coordinator.part.pids(), redis: pids },
    stop: async () => {
      await coordinator.part.stop();
      await Promise.all(redis.map(({ part }) => part.stop()));
      await confined?.end();
    },
  };
};

const prepareAndSubmit = (bench: Bench, url: string, prefix: string, shards: number, pids: Watched): Promise<Trial> => {
  bench.goOn();
  return loadMessages({ url, prefix, senders: SENDERS_A_SHARD * shards, warmUpMs: WARM_UP_MS, measureMs: bench.runSeconds * 1_000 }, pids);
};
const GENERATOR = "bench/load/messages-main.js with the TypeScript client";

/**
 * prepare + submit over so many shards, by one service and one coordinator. Those two are a thread each, and all share few
 * cores: what a shard's Redis does for a message tells how far more shards, with more coordinators, would go.
 */
const throughput = async (bench: Bench, setup: Setup, count: number): Promise<Entry> => {
  const { dtm } = setup;
  bench.step(`prepare + submit, ${count} shards`);
  const shards = await startShards(setup, count, "messages");
  const dtmPids = (await dtm?.watched()) ?? {};
  const outcome = await interleaved({
    runs: bench.runs,
    ours: (number) => prepareAndSubmit(bench, shards.url, `m${count}-${number}`, count, shards.watched),
    reference: dtm === undefined ? undefined : (number) => prepareAndSubmit(bench, dtm.api, `d${count}-${number}`, count, dtmPids),
  });
  await shards.stop();
  const counted = outcome.runs.reduce((sum, { perSecond }) => sum + perSecond * bench.runSeconds, 0);
  const micros = (program: string): number => Math.round(((outcome.cpuSeconds[program] ?? 0) / counted) * 1e7) / 10;
  return entryOf({
    ...outcome,
    what: `a service prepares and submits messages, ${SENDERS_A_SHARD * count} at once; one coordinator, ${count} shards (a Redis each)`,
    unit: "messages",
    reference: dtm === undefined ? null : "the same client and messages, dtm's server (Go) with one Redis",
    generator: GENERATOR,
    durability: DURABILITY,
    numbers: { coordinatorMicrosPerMessage: micros("coordinator"), redisMicrosPerMessage: micros("redis") },
  });
};

/** The same where the shards are what is short: each Redis gets a part of a core, as if this machine had many more cores. */
const growth = async (bench: Bench, setup: Setup, count: number): Promise<Entry> => {
  bench.step(`prepare + submit, ${count} shards of ${SLOW_SHARE} core`);
  const [one, several] = [await startShards(setup, 1, "slow", SLOW_SHARE), await startShards(setup, count, "slow", SLOW_SHARE)];
  const load = (shards: Shards, number: number): Promise<Trial> =>
    prepareAndSubmit(bench, shards.url, `s${shards.count}-${number}`, shards.count, shards.watched);
  let outcome: Compared;
  try {
    outcome = await interleaved({ runs: bench.runs, ours: (number) => load(several, number), reference: (number) => load(one, number) });
  } finally {
    await Promise.all([one.stop(), several.stop()]);
  }
  return entryOf({
    ...outcome,
    what: `the same over ${count} shards whose Redis has ${SLOW_SHARE} of a core each: how throughput grows with shards`,
    unit: "messages",
    reference: "one such shard",
    generator: GENERATOR,
    durability: DURABILITY,
  });
};

/** Adds what the CPU time implies: the shards are independent, and so are the coordinators, each with shards of its own. */
const implied = (entry: Entry, first: Entry | undefined): Entry => {
  const { redisMicrosPerMessage = 0 } = entry.numbers;
  const against = first?.cpuMicros ?? null;
  return {
    ...entry,
    numbers: {
      ...entry.numbers,
      ...(redisMicrosPerMessage > 0 ? { impliedForOneShardsCorePerSecond: Math.round(1e6 / redisMicrosPerMessage) } : {}),
      ...(against === null || entry.cpuMicros === null ? {} : { cpuAgainstFirst: Math.round((entry.cpuMicros / against) * 100) / 100 }),
    },
    notes: [
      ...entry.notes,
      "impliedForOneShardsCorePerSecond is arithmetic, not a measurement: what each shard adds whose Redis has a core, with coordinators enough",
    ],
  };
};

/** The three-step purchase over HTTP, ours and dtm's: the same handler, the same Redis settings. */
const purchases = async (bench: Bench, setup: Setup, entries: Record<string, Entry>): Promise<void> => {
  const redis = await startRedis(setup.run, { name: "purchase-redis", program: setup.redisServer });
  const coordinator = await startCoordinator(setup.run, [redis.url], setup.nats);
  const service = await startPurchaseService(setup.run, { coordinator: coordinator.url, redis: redis.url, stockKey: STOCK });
  const watched: Watched = {
    service: await service.part.pids(),
    coordinator: await coordinator.part.pids(),
    redis: await redis.part.pids(),
  };
  const store = new Redis(redis.url);
  const compare = async (
    peer: DtmPeer | undefined,
    units: number,
    what: string,
    unit: string,
    connections = CONNECTIONS,
  ): Promise<Entry> => {
    const side = async (who: string, port: number, pids: Watched, seconds: number): Promise<Sent> => {
      bench.step(`three-step purchase, ${connections} connections: ${who}`);
      const requests = { kind: "same", method: "POST", path: "/buy" } as const;
      return send(bench, { host: "127.0.0.1", port, requests, connections, pipelining: 1, seconds }, pids, setup.run.folder);
    };
    const peerPids = (await peer?.watched()) ?? {};
    await store.set(STOCK, units);
    await peer?.restock(units);
    await side("warm-up", service.port, watched, WARM_UP_S);
    if (peer !== undefined) await side("warm-up of dtm", peer.port, peerPids, WARM_UP_S);
    const outcome = await interleaved({
      runs: bench.runs,
      ours: () => side("ours", service.port, watched, bench.runSeconds),
      reference: peer === undefined ? undefined : () => side("dtm", peer.port, peerPids, bench.runSeconds),
    });
    return entryOf({
      ...outcome,
      what,
      unit,
      reference:
        peer === undefined
          ? null
          : `dtm's server and its benchmark handler (Go), its client ${peer === setup.dtm ? "tuned" : "as it ships"}; its own Redis`,
      generator: generatorOf(bench, { connections, pipelining: 1 }),
      durability: DURABILITY,
    });
  };
  try {
    const { dtm } = setup;
    if (bench.wants(WON)) entries[WON] = await compare(dtm, UNITS, WIN, "wins");
    if (bench.wants(SOLD_OUT)) entries[SOLD_OUT] = await compare(dtm, 0, "prepare, find nothing left, abort", "refusals");
    if (bench.wants(SHIPPED)) entries[SHIPPED] = await compare(await dtmOrNone(bench, setup.run, "shipped"), UNITS, WIN, "wins");
    // last: on a busy machine dtm lets some of so many wait for longer than the generator does, which ends the scenario
    if (bench.wants(CROWD)) entries[CROWD] = await compare(dtm, UNITS, `${WIN}; a crowd`, "wins", CROWD_CONNECTIONS);
  } finally {
    store.disconnect();
  }
};

/** Messages prepared by a process that is gone: how long after they are due until the last one is decided. */
const crashed = async (bench: Bench, setup: Setup): Promise<Entry> => {
  bench.step(`${CRASHED_MESSAGES} crashed purchases`);
  const redis = await startRedis(setup.run, { name: "crashed-redis", program: setup.redisServer });
  const coordinator = await startCoordinator(setup.run, [redis.url], setup.nats);
  const client = new Coordinator({ url: coordinator.url, timeoutMs: 30_000 });
  const asked = new Set<string>();
  const query = createServer((request, response) => {
    const gid = new URL(request.url ?? "/", "http://localhost").searchParams.get("gid") ?? "";
    setTimeout(() => {
      asked.add(gid);
      response.writeHead(Number(gid.split("-").at(-1)) % 2 === 0 ? 200 : 409).end();
    }, QUERY_MS);
  });
  await new Promise<void>((resolve) => query.listen(0, "127.0.0.1", resolve));
  try {
    const url = `http://127.0.0.1:${(query.address() as AddressInfo).port}/query`;
    const gids = Array.from({ length: CRASHED_MESSAGES }, (_, number) => `crashed-${number}`);
    await Promise.all(gids.map((gid) => new Message(gid, client).add("", null).set({ timeoutToFailS: DUE_S }).prepare(url)));
    const dueAtMs = performance.now() + DUE_S * 1_000;
    await until(() => asked.size === CRASHED_MESSAGES, "every message to be asked about", DECIDED_WITHIN_MS);
    const areDecided = async (): Promise<boolean> => {
      const answer = await fetch(`${client.url}/all?limit=1000&status=prepared`);
      return ((await answer.json()) as { transactions: unknown[] }).transactions.length === 0;
    };
    await until(areDecided, "every message to be decided", DECIDED_WITHIN_MS);
    const tookMs = Math.max(1, performance.now() - dueAtMs);
    return entryOf({
      what: `${CRASHED_MESSAGES} messages prepared by a service that died, query-back endpoint ${QUERY_MS} ms slow: all decided`,
      unit: "messages decided",
      perSecond: CRASHED_MESSAGES / (tookMs / 1_000),
      generator: "none",
      durability: DURABILITY,
      numbers: { allDecidedAfterDueMs: Math.round(tookMs) },
    });
  } finally {
    await client.close();
    query.closeAllConnections();
    query.close();
  }
};

export const messages: Scenario = {
  entries: [...SHARDS.map(byShards), ...SLOW_SHARDS.map(bySlow), CRASHED, WON, SOLD_OUT, SHIPPED, CROWD],
  run: async (bench, entries) => {
    const programs = await findOrInstall([Store.redis, Store.nats], { path: bench.environment["PATH"] }, (line) => bench.step(line));
    const run = await beginRun({ environment: bench.environment, say: () => undefined });
    try {
      const nats = await startNats(run, { program: programs.nats });
      const isCompared = [...SHARDS.map(byShards), WON, SOLD_OUT, CROWD].some((entry) => bench.wants(entry));
      const setup: Setup = { run, redisServer: programs.redis, nats, dtm: isCompared ? await dtmOrNone(bench, run, "tuned") : undefined };
      for (const shards of SHARDS) {
        bench.goOn();
        if (!bench.wants(byShards(shards))) continue;
        entries[byShards(shards)] = implied(await throughput(bench, setup, shards), entries[byShards(1)]);
      }
      for (const shards of SLOW_SHARDS) {
        bench.goOn();
        if (!bench.wants(bySlow(shards))) continue;
        try {
          entries[bySlow(shards)] = await growth(bench, setup, shards);
        } catch (error) {
          if (!(error instanceof NotConfined)) throw error;
          bench.skip(`${bySlow(shards)}: ${error.message}`);
        }
      }
      if (bench.wants(CRASHED)) entries[CRASHED] = await crashed(bench, setup);
      if ([WON, SOLD_OUT, SHIPPED, CROWD].some((entry) => bench.wants(entry))) await purchases(bench, setup, entries);
    } finally {
      await run.end();
    }
  },
};
