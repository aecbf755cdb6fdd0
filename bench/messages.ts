import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import autocannon from "autocannon";
import { Redis } from "ioredis";
import { Coordinator, Message } from "../coordinator/client/index.ts";
import { beginRun, findOrInstall, freePort, startNats, startRedis, Store, until, type NatsPart } from "../deploy/local/index.ts";

/**
 * How fast two-phase messages are, next to dtm on the same machine in the same run. Every Redis has `appendfsync
 * always`, dtm's too. Prints a table and one JSON line.
 */
const SECONDS = 5;
const CONNECTIONS = 64;
const CRASHED = 1_000;
const QUERY_MS = 100;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

// oxlint-disable-next-line node/no-process-env -- what the servers and programs that it starts inherit
const environment = process.env;
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
const programs = await findOrInstall([Store.redis, Store.nats], { path: environment["PATH"] }, say);
const run = await beginRun({ environment, say: () => undefined });
const children = new Set<ChildProcess>();

const start = async (
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  ready: RegExp,
): Promise<{ child: ChildProcess; url: string }> => {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "ignore"], env: { ...environment, ...env } });
  children.add(child);
  const url = await new Promise<string>((resolve, reject) => {
    child.once("exit", (code, signal) => reject(new Error(`${command} ${args[0] ?? ""} ended with ${code ?? signal}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const match = ready.exec(line);
      if (match !== null) resolve(match[0]);
    });
  });
  return { child, url };
};

const end = async (child: ChildProcess): Promise<void> => {
  children.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
};

const URL_PATTERN = /http:\/\/127\.0\.0\.1:\d+/;

const startCoordinator = async (redis: readonly string[], nats: NatsPart): Promise<{ child: ChildProcess; url: string }> => {
  const started = await start(
    process.execPath,
    [here("../coordinator/main.js")],
    {
      REDIS_SHARDS: redis.join(","),
      NATS_URL: nats.url,
      NATS_USER: nats.user,
      NATS_PASSWORD: nats.pass,
      DOORBUSTER_COORDINATOR_PORT: "0",
      DOORBUSTER_EXIT_WITH_PARENT: "true",
    },
    URL_PATTERN,
  );
  await until(async () => {
    const metrics = await (await fetch(`${started.url}/metrics`)).text();
    return redis.every((_, shard) => metrics.includes(`doorbuster_shard_lease{shard="${shard}"} 1`));
  }, "the leases");
  return started;
};

const cpuSeconds = async (pid: number): Promise<number> => {
  const { stdout } = await promisify(execFile)("cat", [`/proc/${pid}/stat`]);
  const fields = stdout.slice(stdout.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

/** prepare + submit of messages with one empty branch, by one client process (this one) with bulk calls. */
const throughput = async (shards: number, nats: NatsPart): Promise<{ perSecond: number; redisCpuMicros: number; busiestShard: number }> => {
  const redis = await Promise.all(Array.from({ length: shards }, () => startRedis(run, { program: programs.redis })));
  const coordinator = await startCoordinator(
    redis.map(({ url }) => url),
    nats,
  );
  const client = new Coordinator({ url: coordinator.url, timeoutMs: 30_000 });
  let sent = 0;
  const stop = new AbortController();
  const sender = async (id: number): Promise<void> => {
    for (let i = 0; !stop.signal.aborted; i += 1) {
      const message = new Message(`throughput-${id}-${i}`, client).add("", null).set({ timeoutToFailS: 60 });
      await message.prepare("http://127.0.0.1:1/query");
      await message.submit();
      sent += 1;
    }
  };
  const before = await Promise.all(redis.map(({ part }) => cpuSeconds(part.pid ?? 0)));
  const at = performance.now();
  const senders = Array.from({ length: 256 }, (_, id) => sender(id));
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1_000));
  stop.abort();
  await Promise.all(senders);
  const perSecond = sent / ((performance.now() - at) / 1_000);
  const after = await Promise.all(redis.map(({ part }) => cpuSeconds(part.pid ?? 0)));
  const used = after.map((seconds, i) => seconds - (before[i] ?? 0));
  await client.close();
  await end(coordinator.child);
  await Promise.all(redis.map(({ part }) => part.stop()));
  const total = used.reduce((sum, seconds) => sum + seconds, 0);
  return { perSecond, redisCpuMicros: (total / sent) * 1e6, busiestShard: Math.max(...used) / ((performance.now() - at) / 1_000) };
};

interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  /** of everything but the load generator: what is left of the comparison where other work shares the machine */
  readonly cpuMicros: number;
}

const load = async (url: string, connections: number, pids: readonly number[]): Promise<Load> => {
  const cpu = async (): Promise<number> => (await Promise.all(pids.map(cpuSeconds))).reduce((sum, seconds) => sum + seconds, 0);
  await autocannon({ url, method: "POST", connections, duration: 3 });
  const before = await cpu();
  const result = await autocannon({ url, method: "POST", connections, duration: SECONDS });
  const answered = result["2xx"] + (result.statusCodeStats?.["409"]?.count ?? 0);
  return {
    perSecond: answered / result.duration,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
    errors: result.errors + result["5xx"],
    cpuMicros: (((await cpu()) - before) / answered) * 1e6,
  };
};

type Courses = Readonly<Record<string, Load>>;

/** The three-step purchase over HTTP: sold out, then every request a win; at dtm's 20 connections and at ours. */
const purchases = async (url: string, pids: readonly number[], setStock: (units: number) => Promise<unknown>): Promise<Courses> => {
  const courses: Record<string, Load> = {};
  for (const connections of [20, CONNECTIONS]) {
    await setStock(0);
    courses[`sold out, ${connections} connections`] = await load(url, connections, pids);
    await setStock(1_000_000_000);
    courses[`won, ${connections} connections`] = await load(url, connections, pids);
  }
  return courses;
};

const ours = async (nats: NatsPart): Promise<Courses> => {
  const redis = await startRedis(run, { program: programs.redis });
  const coordinator = await startCoordinator([redis.url], nats);
  const stockKey = "{a}--stock";
  const handler = await start(
    process.execPath,
    [here("messages-handler.js"), JSON.stringify({ coordinator: coordinator.url, redis: redis.url, stockKey })],
    {},
    URL_PATTERN,
  );
  const store = new Redis(redis.url);
  const courses = await purchases(
    `${handler.url}/buy`,
    [handler.child.pid ?? 0, coordinator.child.pid ?? 0, redis.part.pid ?? 0],
    (units) => store.set(stockKey, units),
  );
  store.disconnect();
  await end(handler.child);
  await end(coordinator.child);
  await redis.part.stop();
  return courses;
};

const dtm = async (): Promise<Courses | undefined> => {
  const program = join(run.folder, "dtm-peer");
  try {
    await promisify(execFile)("go", ["build", "-o", program, "."], { cwd: here("../../bench/peers/dtm"), timeout: 600_000 });
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === "ENOENT" ? "go is not installed" : (error as { stderr?: string }).stderr;
    say(`dtm: SKIPPED, ${why}`);
    return undefined;
  }
  const redis = await startRedis(run, { program: programs.redis });
  const [http, grpc, jsonRpc, port] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const child = spawn(program, [], {
    stdio: ["pipe", "ignore", "ignore"],
    env: {
      ...environment,
      STORE_DRIVER: "redis",
      STORE_HOST: "127.0.0.1",
      STORE_PORT: String(redis.port),
      HTTP_PORT: String(http),
      GRPC_PORT: String(grpc),
      JSON_RPC_PORT: String(jsonRpc),
      LOG_LEVEL: "fatal",
      PEER_PORT: String(port),
      PEER_REDIS: `127.0.0.1:${redis.port}`,
    },
  });
  children.add(child);
  const url = `http://127.0.0.1:${port}`;
  const stock = (units: number): Promise<Response> => fetch(`${url}/stock?units=${units}`, { method: "POST" });
  await until(async () => (await stock(0).catch(() => undefined))?.ok === true, "dtm to be up", 60_000);
  const courses = await purchases(`${url}/buy`, [child.pid ?? 0, redis.part.pid ?? 0], stock);
  await end(child);
  await redis.part.stop();
  return courses;
};

/** 1,000 messages prepared by a process that is gone; how long after they are due until the last one is decided. */
const crashed = async (nats: NatsPart): Promise<number> => {
  const redis = await startRedis(run, { program: programs.redis });
  const coordinator = await startCoordinator([redis.url], nats);
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
  const url = `http://127.0.0.1:${(query.address() as AddressInfo).port}/query`;
  const gids = Array.from({ length: CRASHED }, (_, i) => `crashed-${i}`);
  await Promise.all(gids.map((gid) => new Message(gid, client).add("", null).set({ timeoutToFailS: 2 }).prepare(url)));
  const dueAt = performance.now() + 2_000;
  await until(() => asked.size === CRASHED, "every message to be asked about", 60_000);
  const decided = async (): Promise<boolean> => {
    const answer = await fetch(`${client.url}/all?limit=1000&status=prepared`);
    return ((await answer.json()) as { transactions: unknown[] }).transactions.length === 0;
  };
  await until(decided, "every message to be decided", 60_000);
  const tookMs = performance.now() - dueAt;
  await client.close();
  query.closeAllConnections();
  query.close();
  await end(coordinator.child);
  await redis.part.stop();
  if (asked.size !== CRASHED) throw new Error(`${asked.size} of ${CRASHED} were asked about`);
  return tookMs;
};

try {
  const nats = await startNats(run, { program: programs.nats });
  const results: Record<string, unknown> = {};
  for (const shards of process.argv.includes("--purchases") ? [] : [1, 2, 4]) {
    const { perSecond, redisCpuMicros, busiestShard } = await throughput(shards, nats);
    results[`throughput${shards}`] = { perSecond, redisCpuMicros, busiestShard };
    say(
      `prepare + submit, ${shards} shard(s), one coordinator: ${Math.round(perSecond)} messages/s; ` +
        `Redis ${redisCpuMicros.toFixed(0)} us a message, busiest shard ${(busiestShard * 100).toFixed(0)} % of a core`,
    );
  }
  const tookMs = await crashed(nats);
  results["crashedMs"] = tookMs;
  say(`${CRASHED} crashed purchases, query endpoint ${QUERY_MS} ms: all decided ${(tookMs / 1_000).toFixed(2)} s after they were due`);
  const mine = await ours(nats);
  const theirs = await dtm();
  results["ours"] = mine;
  results["dtm"] = theirs;
  for (const [name, course] of Object.entries(mine)) {
    const peer = theirs?.[name];
    say(
      `purchase, ${name}: ours ${Math.round(course.perSecond)}/s (CPU ${course.cpuMicros.toFixed(0)} us, p50 ${course.p50Ms} p99 ${course.p99Ms} ms, errors ${course.errors})` +
        (peer === undefined
          ? ""
          : `; dtm ${Math.round(peer.perSecond)}/s (CPU ${peer.cpuMicros.toFixed(0)} us, p50 ${peer.p50Ms} p99 ${peer.p99Ms} ms, errors ${peer.errors}); ${(course.perSecond / peer.perSecond).toFixed(1)}x`),
    );
  }
  say(JSON.stringify(results));
} finally {
  await Promise.all([...children].map(end));
  await run.end();
}
