import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePort } from "../../deploy/local/index.ts";
import { environment, startRedis, until, type RedisServer } from "../harness/index.ts";
import { crashBuying, type Crash } from "../harness/messages/crash.ts";
import { CrashWorld } from "../harness/crash-world.ts";
import { LiveSale } from "../harness/live-sale.ts";

/**
 * Services that use two-phase messages are killed with -9 at each of their own steps, in the middle of a live sale, with
 * and without the coordinator at the same moment: what was deducted is delivered once, what was not never is.
 */
const isWhole = environment["CRASH_MATRIX"] === "whole";
const PROGRAM = fileURLToPath(new URL("../harness/participant.mjs", import.meta.url));
const STOCK = 10;

interface Row {
  /** where the caller of the message dies */
  readonly caller: Crash["dieAt"];
  /** where the service dies that is called by the coordinator */
  readonly participant: string;
  readonly happens: boolean;
}

const ROWS: readonly Row[] = [
  { caller: "prepared", participant: "", happens: false },
  { caller: "stepped", participant: "", happens: true },
  { caller: "ended", participant: "", happens: true },
  { caller: "ended", participant: "branch:before", happens: true },
  { caller: "ended", participant: "branch:after", happens: true },
  { caller: "stepped", participant: "query:before", happens: true },
  { caller: "stepped", participant: "query:after", happens: true },
  { caller: "prepared", participant: "query:after", happens: false },
];

let world: CrashWorld;
let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  world = await CrashWorld.start();
  server = await startRedis();
  redis = new Redis(server.url);
}, 180_000);
afterAll(async () => {
  redis?.disconnect();
  await server?.stop();
  await world?.close();
});

let number = 0;

const start = async (options: Readonly<Record<string, string | number>>): Promise<ChildProcess> => {
  const child = spawn(process.execPath, [PROGRAM, JSON.stringify(options)], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout as NodeJS.ReadableStream, "data");
  return child;
};

const survive = async ({ caller, participant, happens }: Row, withCoordinator: boolean): Promise<void> => {
  const id = `part-${number++}`;
  const sale = await LiveSale.open(world, id);
  const [stockKey, soldKey, askedKey] = [`{${id}}-stock`, `{${id}}-sold`, `{${id}}-asked`];
  await redis.mset(stockKey, STOCK, soldKey, 0, askedKey, 0);
  const port = await freePort();
  const settings = { port, redis: server.url, soldKey, askedKey };
  let child = await start({ ...settings, dieAt: participant });
  const died = participant === "" ? undefined : once(child, "exit");
  try {
    const { coordinator } = await world.stack.info();
    const url = `http://127.0.0.1:${port}`;
    await crashBuying({
      coordinator,
      redis: server.url,
      gid: id,
      stockKey,
      query: `${url}/query`,
      branch: `${url}/branch`,
      dieAt: caller,
    });
    if (withCoordinator) world.stack.kill("coordinator");
    if (died !== undefined) {
      expect((await died)[1]).toBe("SIGKILL");
      child = await start({ ...settings, dieAt: "" });
    }
    const isDecided = async (): Promise<boolean> => Number(await redis.get(happens ? soldKey : askedKey)) > 0;
    await until(isDecided, happens ? "the branch to be called" : "the query-back", 60_000);
    expect(await sale.end()).toEqual([]);
    const sold = happens ? 1 : 0;
    expect(await redis.mget(stockKey, soldKey)).toEqual([String(STOCK - sold), String(sold)]);
  } finally {
    child.kill("SIGKILL");
  }
};

describe("services that take part in two-phase messages die", { timeout: 240_000 }, () => {
  const named = ROWS.map((row) => [row.caller, row.participant === "" ? "nowhere" : row.participant, row] as const);
  const sample = named.filter(([, participant]) => isWhole || participant === "branch:after");

  it.each(sample)("the caller when it has %s, the called service %s", (_caller, _participant, row) => survive(row, false));

  it.runIf(isWhole).each(named)("the caller when it has %s, the called service %s, and the coordinator", (_caller, _participant, row) =>
    survive(row, true),
  );
});
