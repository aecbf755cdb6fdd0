import { startNats as startNatsPart, startRedis as startRedisPart, type NatsPart, type Part } from "../../deploy/local/index.ts";
import { binaries, joinRun, leaveRun } from "./run.ts";

/** A real server that a test owns: it may be killed and started again on the same port and folder. */
interface TestServer {
  readonly url: string;
  readonly port: number;
  readonly dir: string;
  /** of the running process */
  readonly pid: number;
  /** SIGKILL; resolves when it and the processes below it are gone */
  kill(): Promise<void>;
  /** after kill: the same port and folder again; resolves when it is ready */
  start(): Promise<void>;
  /** ends it for good, in order */
  stop(): Promise<void>;
}
export interface RedisServer extends TestServer {
  /** of a node of a cluster (redis.ts) */
  readonly busPort: number | undefined;
}
export interface NatsServer extends TestServer {
  readonly user: string;
  readonly pass: string;
}

const testServer = (server: { readonly part: Part; readonly url: string; readonly port: number; readonly dir: string }): TestServer => {
  let stopped = false;
  return {
    url: server.url,
    port: server.port,
    dir: server.dir,
    get pid() {
      if (server.part.pid === undefined) throw new Error(`${server.part.name} does not run`);
      return server.part.pid;
    },
    kill: () => server.part.kill(),
    start: () => server.part.start(),
    stop: async () => {
      if (stopped) return;
      stopped = true;
      await server.part.stop();
      await leaveRun();
    },
  };
};

const inRun = async <T>(start: (run: Awaited<ReturnType<typeof joinRun>>) => Promise<T>): Promise<T> => {
  const run = await joinRun();
  try {
    return await start(run);
  } catch (error) {
    await leaveRun();
    throw error;
  }
};

export interface TestRedisOptions {
  readonly appendfsync?: "always" | "everysec";
  readonly dir?: string;
  readonly port?: number;
  readonly cluster?: boolean;
  readonly debug?: boolean;
}

/** A Redis with the settings of production. */
export const startRedis = (options: TestRedisOptions = {}): Promise<RedisServer> =>
  inRun(async (run) => {
    const { redis } = await binaries();
    const started = await startRedisPart(run, { ...options, program: redis });
    return Object.defineProperty(testServer(started), "busPort", { value: started.busPort, enumerable: true }) as RedisServer;
  });

export interface TestNatsOptions {
  readonly dir?: string;
  readonly port?: number;
  /** further lines of its configuration file, asked for at each start */
  readonly settings?: () => readonly string[];
  readonly jetstream?: boolean;
  /** subjects that its user may not publish to */
  readonly denied?: readonly string[];
}

/** A NATS server with JetStream, empty unless `dir` holds an older one's files. */
export const startNats = (options: TestNatsOptions = {}): Promise<NatsServer> =>
  inRun(async (run) => {
    const { nats } = await binaries();
    const started: NatsPart = await startNatsPart(run, { ...options, program: nats });
    // Object.assign would read the getter `pid` once and for all.
    return Object.defineProperties(testServer(started), {
      user: { value: started.user, enumerable: true },
      pass: { value: started.pass, enumerable: true },
    }) as NatsServer;
  });
