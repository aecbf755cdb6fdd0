import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { Client } from "pg";
import { describe, expect, it } from "vitest";
import { saleKeys } from "#lua";
import { environment, until } from "../../test/harness/index.ts";
import type { DemoReport } from "./demo-report.ts";
import { readReadyFile, type ReadyFile } from "./ready-file.ts";

/** The demo, while somebody kills one of its Redis servers with -9 and removes its folder. */
const MAIN = fileURLToPath(new URL("../../dist/deploy/cli/main.js", import.meta.url));
const WITHIN_MS = 120_000;
/** Units are on their way for a tenth of a second. */
const OFTEN_MS = 3;

interface Size {
  readonly stock: number;
  readonly buyers: number;
  readonly shards: number;
  readonly redis: number;
}

/** More than 1,000 units a shard: the sale is dealt to all. */
const SMALL: Size = { stock: 2_400, buyers: 8_000, shards: 2, redis: 2 };
/** The server that is lost has three of the shards. */
const MANY: Size = { stock: 20_000, buyers: 40_000, shards: 8, redis: 3 };

/** Resolves with a shard whose server is to be lost, when the moment has come. */
type Moment = (ready: ReadyFile, running: () => void, size: Size) => Promise<number>;

const untilLeft = async ({ redis, sale }: ReadyFile, running: () => void, units: number): Promise<void> => {
  const clients = redis.map(({ url }) => new Redis(url));
  const isReached = async (): Promise<boolean> => {
    running();
    const left = await Promise.all(clients.map((client, shard) => client.hget(saleKeys(shard, sale).sale, "left")));
    return left.reduce((sum, here) => sum + Number(here), 0) <= units;
  };
  await until(isReached, `${units} units to be left`, WITHIN_MS, OFTEN_MS);
  for (const client of clients) client.disconnect();
};

const half: Moment = async (ready, running, { stock }) => {
  await untilLeft(ready, running, stock / 2);
  return 1;
};

const signalGateway = ({ programs }: ReadyFile, signal: NodeJS.Signals): void => {
  for (const pid of programs.gateway) process.kill(pid, signal);
};

/**
 * A shard drains, and Postgres has recorded its units for another where they have not arrived. The gateway stands still
 * until that one is lost: the crowd would leave nothing to be moved within a second.
 */
const onTheirWay: Moment = async (ready, running) => {
  signalGateway(ready, "SIGSTOP");
  const client = new Client({ connectionString: ready.databaseUrl });
  await client.connect();
  let receiver: number | undefined;
  const isMoving = async (): Promise<boolean> => {
    running();
    const { rows } = await client.query<{ shard: number }>("SELECT shard FROM grants WHERE kind = 'transfer' AND state = 'sent' LIMIT 1");
    receiver = rows[0]?.shard;
    return receiver !== undefined;
  };
  try {
    await client.query("UPDATE shards SET draining = true WHERE shard = 0");
    await until(isMoving, "units to be on their way", WITHIN_MS, OFTEN_MS);
  } finally {
    await client.end();
  }
  return receiver as number;
};

const demoWith = async (
  moment: Moment,
  size: Size,
): Promise<{ readonly code: number | null; readonly report: DemoReport; readonly output: string }> => {
  const folder = await mkdtemp(join(tmpdir(), "demo-lost-redis-"));
  const readyFile = join(folder, "ready.json");
  const reportFile = join(folder, "report.json");
  const options = [...Object.entries(size), ["ready-file", readyFile], ["report", reportFile]].flatMap(([name, value]) => [
    `--${name}`,
    String(value),
  ]);
  const demo = spawn(process.execPath, [MAIN, "demo", ...options], {
    env: { ...environment, REDIS_SHARDS: "", NATS_URL: "", DATABASE_URL: "" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = once(demo, "exit");
  let output = "";
  for (const stream of [demo.stdout, demo.stderr]) stream.on("data", (text) => (output += String(text)));
  const running = (): void => {
    if (demo.exitCode !== null) throw new Error(`the demo ended too early:\n${output}`);
  };
  let ready: ReadyFile | undefined;
  try {
    const isThere = (): Promise<boolean> =>
      access(readyFile).then(
        () => true,
        () => false,
      );
    await until(() => (running(), isThere()), "the sale to be open", WITHIN_MS);
    ready = await readReadyFile(readyFile);
    const { pid, dir } = ready.redis[await moment(ready, running, size)] as ReadyFile["redis"][number];
    process.kill(pid as number, "SIGKILL");
    await rm(dir as string, { recursive: true });
    signalGateway(ready, "SIGCONT");
    await ended;
    return { code: demo.exitCode, report: JSON.parse(await readFile(reportFile, "utf8")) as DemoReport, output };
  } finally {
    if (demo.exitCode === null && ready !== undefined) signalGateway(ready, "SIGCONT");
    demo.kill("SIGTERM");
    await ended;
    await rm(folder, { recursive: true, force: true });
  }
};

describe("a demo that loses a Redis and its data", { timeout: 300_000 }, () => {
  it.each([
    ["when half is sold", half, SMALL],
    ["while units are on their way to it", onTheirWay, SMALL],
    ["with three of eight shards when half is sold", half, MANY],
  ] as const)("%s sells out exactly, and its books balance", async (_when, moment, size) => {
    const { code, report, output } = await demoWith(moment, size);
    const { stock } = size;
    expect(report, output).toMatchObject({
      stock,
      reserved: stock,
      confirmed: stock,
      orders: stock,
      free: 0,
      inFlight: 0,
      oversold: 0,
      lost: 0,
      duplicateOrders: 0,
      restarts: 1,
      auditOk: true,
    });
    expect(output).toContain("has lost its data and starts empty");
    expect(code, output).toBe(0);
  });
});
