import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { Coordinator } from "../../coordinator/messages/client/index.ts";
import { beginRun, findOrInstall, startNats, startRedis, Store, until } from "../local/index.ts";
import { startOrderService, startQueryService, stockKey } from "./services.ts";

const ACTIVITY = "spring";
const MAIN = fileURLToPath(new URL("../../coordinator/main.js", import.meta.url));
const PURCHASE_MAIN = fileURLToPath(new URL("purchase-main.js", import.meta.url));
const say = (line: string): void => void process.stdout.write(`${line}\n`);

// oxlint-disable-next-line node/no-process-env -- what the servers and programs that it starts inherit
const environment = process.env;
const programs = await findOrInstall([Store.redis, Store.nats], { path: environment["PATH"] }, say);
const run = await beginRun({ environment, say });
const children: ChildProcess[] = [];

/** Starts one of our programs; resolves with the first URL it tells. */
const start = async (
  file: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ readonly child: ChildProcess; readonly url: string }> => {
  const child = spawn(process.execPath, [file, ...args], { stdio: ["pipe", "pipe", "inherit"], env: { ...environment, ...env } });
  children.push(child);
  const url = await new Promise<string>((resolve, reject) => {
    child.once("exit", (code, signal) => reject(new Error(`${file} ended with ${code ?? signal}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const match = /http:\/\/127\.0\.0\.1:\d+/.exec(line);
      if (match !== null) resolve(match[0]);
    });
  });
  return { child, url };
};

const buy = async (handler: string, uid: string): Promise<string> => {
  const response = await fetch(`${handler}/buy?activity=${ACTIVITY}&uid=${uid}`, { method: "POST" });
  return `${response.status} ${await response.text()}`;
};

const courses = async (): Promise<void> => {
  const { url: redisUrl } = await startRedis(run, { program: programs.redis });
  const nats = await startNats(run, { program: programs.nats });
  const { url } = await start(MAIN, [], {
    REDIS_SHARDS: redisUrl,
    NATS_URL: nats.url,
    NATS_USER: nats.user,
    NATS_PASSWORD: nats.pass,
    DOORBUSTER_COORDINATOR_PORT: "0",
    DOORBUSTER_COORDINATOR_METRICS_PORT: "0",
    DOORBUSTER_EXIT_WITH_PARENT: "true",
  });
  say(`coordinator: ${url}/api/dtmsvr`);
  const redis = new Redis(redisUrl);
  const coordinator = new Coordinator({ url });
  const created: string[] = [];
  const orders = await startOrderService(({ uid }) => {
    created.push(uid);
    say(`  order service: order of ${uid} created`);
  });
  const query = await startQueryService(redis, (gid, happened) =>
    say(`  query endpoint: asked about ${gid}, the deduction ${happened ? "happened" : "did not happen and never will"}`),
  );
  const purchases = { coordinator: url, redis: redisUrl, orderUrl: `${orders.url}/order`, queryUrl: `${query.url}/query` };
  const handler = await start(PURCHASE_MAIN, [JSON.stringify({ ...purchases, dieAt: "carol" })]);
  const stock = async (): Promise<string> => `stock left: ${await redis.get(stockKey(ACTIVITY))}`;
  const ordered = (uid: string): Promise<void> => until(() => created.includes(uid), `the order of ${uid}`, 20_000);
  await redis.set(stockKey(ACTIVITY), 2);

  say(`\n1. The normal course (${await stock()})`);
  say(`  alice buys: ${await buy(handler.url, "alice")}`);
  await ordered("alice");
  say(`  alice clicks again: ${await buy(handler.url, "alice")}`);
  say(`  ${await stock()}`);

  say(`\n2. A crash between deduct and submit (${await stock()})`);
  say("  carol buys; her handler deducts the unit and is killed with -9 before it can submit");
  await buy(handler.url, "carol").catch(() => say("  carol hears nothing: the connection broke"));
  say(`  ${await stock()}; her message is ${await coordinator.state(`flash-sale-${ACTIVITY}-carol`)}; the coordinator asks back after 3 s`);
  await ordered("carol");
  const again = await start(PURCHASE_MAIN, [JSON.stringify(purchases)]);
  say(`  carol asks again, at another handler: ${await buy(again.url, "carol")}`);

  say(`\n3. Sold out (${await stock()})`);
  say(`  bob buys: ${await buy(again.url, "bob")}`);
  say(`  his message is ${await coordinator.state(`flash-sale-${ACTIVITY}-bob`)}`);

  say(`\nOrders: ${created.join(", ")}; ${await stock()}`);
  if (created.toSorted().join() !== "alice,carol" || (await redis.get(stockKey(ACTIVITY))) !== "0")
    throw new Error("the example went wrong");
  redis.disconnect();
  await Promise.all([orders.stop(), query.stop(), coordinator.close()]);
};

try {
  await courses();
} finally {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await run.end();
}
