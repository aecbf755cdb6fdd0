import { once } from "node:events";
import { connect } from "nats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Client } from "pg";
import { WebSocket } from "ws";
import { logSubject } from "#protocol";
import { environment, StackWorld, FaultNet, until } from "../harness/index.ts";

/** Known bug 7, where workers and gateway do not come in the order in which one thinks of them, and what cannot be read. */
const SHARDS = 2;

let net: FaultNet;
let world: StackWorld;
beforeAll(async () => {
  net = new FaultNet();
  // The answer of Redis is held for as long as a busy machine takes.
  world = await StackWorld.start({
    shards: SHARDS,
    route: net.route,
    environment: { ...environment, DOORBUSTER_DECISION_TIMEOUT_MS: "60000" },
  });
}, 180_000);
afterAll(async () => {
  await world?.close();
  await net?.close();
});

/** What the gateway is told by Redis waits until the order is in Postgres and has been told of. */
const finishFirst = async <T>(saleId: string, ask: () => Promise<T>): Promise<T> => {
  // The very first call of a script is answered that it is not there yet.
  await world.buy(saleId, "earlier");
  for (let shard = 0; shard < SHARDS; shard += 1) net.between("gateway", `redis-${shard}`).set({ kind: "holdAnswers" });
  try {
    const asked = ask();
    await until(async () => (await world.orders(saleId)).length === 2, "the worker to have finished", 30_000);
    net.heal();
    return await asked;
  } finally {
    net.heal();
  }
};

describe("7: the worker finishes before the gateway has answered", { timeout: 120_000 }, () => {
  it("a held answer is the confirmed one", async () => {
    await world.openSale("early-http", 5);
    const url = world.urlOf("early-http", "ann");
    const answer = await finishFirst("early-http", async () =>
      (await fetch(url, { method: "POST", headers: { prefer: "wait=60" } })).json(),
    );
    expect(answer).toMatchObject({ code: "confirmed" });
    expect(await world.final("early-http", "ann")).toMatchObject({ orderId: (answer as { orderId: string }).orderId });
    expect(await world.auditAtRest("early-http")).toMatchObject({ free: 3, sold: 2 });
  });

  it("a socket hears of it, too, and not only that it is reserved", async () => {
    await world.openSale("early-socket", 5);
    const url = world.urlOf("early-socket", "ann");
    const socket = new WebSocket(url.replace("http", "ws").replace("/buy/", "/live?ticket="));
    await once(socket, "open");
    const heard: { readonly code: string; readonly orderId: string }[] = [];
    socket.on("message", (data) => heard.push(JSON.parse((data as Buffer).toString()) as (typeof heard)[number]));
    await finishFirst("early-socket", async () => {
      socket.send(JSON.stringify({ op: "buy", ref: 1 }));
      await until(() => heard.some(({ code }) => code === "confirmed"), "the socket to hear of the order", 60_000);
    });
    socket.close();
    const { orderId } = await world.final("early-socket", "ann");
    expect(new Set(heard.map((frame) => frame.orderId))).toEqual(new Set([orderId]));
  });
});

describe("7: a poison message", { timeout: 120_000 }, () => {
  it("is parked, the sale goes on behind it, and every unit is accounted for", async () => {
    await world.openSale("poison", 60);
    const { nats, databaseUrl } = await world.stack.info();
    const connection = await connect({ servers: nats.url, user: nats.user ?? "", pass: nats.pass ?? "" });
    const answers = await Promise.all(
      Array.from({ length: 60 }, async (_, n) => {
        if (n % 10 === 0)
          for (let shard = 0; shard < SHARDS; shard += 1) await connection.jetstream().publish(logSubject(shard), `nonsense ${n}`);
        return world.buy("poison", `b${n}`);
      }),
    );
    await connection.close();
    for (const [n, { orderId }] of answers.entries())
      expect(await world.final("poison", `b${n}`)).toMatchObject({ code: "confirmed", orderId });
    expect(await world.auditAtRest("poison")).toMatchObject({ total: 60, free: 0, sold: 60, rejected: 0 });
    const client = new Client({ connectionString: databaseUrl });
    await client.connect();
    const parked = async (): Promise<number> =>
      Number((await client.query<{ n: string }>("SELECT count(*) AS n FROM dead_letters WHERE body LIKE 'nonsense%'")).rows[0]?.n);
    await until(async () => (await parked()) === 6 * SHARDS, "every poison message to be parked", 30_000);
    await client.end();
  });
});
