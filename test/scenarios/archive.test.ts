import { Redis } from "ioredis";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { saleKeys, shardKeys } from "#lua";
import { saleRecordSchema, type OrderRecord, type PaidOrder, type SaleRecord } from "#protocol";
import { ProgramName, type StackInfo } from "../../deploy/local/index.ts";
import { empty, restartWith } from "../harness/folders.ts";
import { environment, StackWorld, until, type BuyAnswer } from "../harness/index.ts";

/** A sale that is over leaves Redis (DESIGN 7.6), on a whole stack and by its public doors. */
const SHARDS = 2;
const WITHIN_MS = 30_000;
const DAY_MS = 86_400_000;
/** Longer than to empty a folder. */
const RESTART_AFTER_MS = 500;

let world: StackWorld;
let info: StackInfo;
let sql: Client;
let redises: readonly Redis[];
beforeAll(async () => {
  world = await StackWorld.start({
    shards: SHARDS,
    redis: 2,
    restartAfterMs: RESTART_AFTER_MS,
    environment: {
      ...environment,
      DOORBUSTER_WORKER_PROCESSES: "1",
      DOORBUSTER_GATEWAY_PROCESSES: "1",
      DOORBUSTER_LEASE_MS: "1000",
      DOORBUSTER_OPEN_MS: "1500",
    },
  });
  info = await world.stack.info();
  sql = new Client({ connectionString: info.databaseUrl });
  await sql.connect();
  // they go on by themselves when a server is back
  redises = info.redisShards.split(",").map((url) => new Redis(url).on("error", () => undefined));
}, 180_000);
afterAll(async () => {
  for (const redis of redises ?? []) redis.disconnect();
  await sql?.end();
  await world?.close();
});

interface Bought {
  readonly uid: string;
  readonly key: string;
  readonly orderId: string;
  readonly units: number;
}

const keyOf = (key: string): Readonly<Record<string, string>> => (key === "" ? {} : { "idempotency-key": key });
const buy = async (saleId: string, uid: string, key = "", units = 1): Promise<Bought> => {
  const answer = await world.buy(saleId, uid, keyOf(key), JSON.stringify({ units }));
  if (answer.orderId === undefined) throw new Error(`${uid} of ${saleId}: ${answer.code}`);
  return { uid, key, orderId: answer.orderId, units };
};
const pay = (saleId: string, { uid, orderId }: Bought): Promise<PaidOrder> =>
  world.admin(`/orders/${orderId}/payments`, { saleId, uid, paymentId: `${saleId}/${orderId}`, amountMinor: 1 }) as Promise<PaidOrder>;
const stored = (saleId: string, count: number): Promise<void> =>
  until(
    async () => (await sql.query("SELECT FROM orders WHERE sale_id = $1", [saleId])).rowCount === count,
    `the orders of ${saleId} to be in Postgres`,
    WITHIN_MS,
  );
const change = (saleId: string, state: string): Promise<SaleRecord> =>
  world.admin(`/sales/${saleId}/state`, { state }) as Promise<SaleRecord>;

/** Keys of a sale that a Redis has, and what it remembers of it beside them. */
const keysOf = async (saleId: string): Promise<readonly string[]> => {
  const found: string[] = [];
  for (const [shard, redis] of redises.entries()) {
    for (const key of Object.values(saleKeys(shard, saleId))) if ((await redis.exists(key)) === 1) found.push(key);
    if ((await redis.sismember(shardKeys(shard).sales, saleId)) === 1) found.push(`${shard}: sales`);
  }
  return found;
};
const leavesRedis = (saleId: string): Promise<void> =>
  until(async () => (await keysOf(saleId)).length === 0, `${saleId} to leave Redis`, WITHIN_MS);

const list = async (query = ""): Promise<readonly SaleRecord[]> => {
  const response = await fetch(`${info.admin}/sales${query}`, { headers: { authorization: `Bearer ${info.adminToken}` } });
  return saleRecordSchema.array().parse(await response.json());
};

/** What a buy frame is answered on a socket. */
const buyOnSocket = async (saleId: string, uid: string, frame: object): Promise<BuyAnswer> => {
  const socket = new WebSocket(world.urlOf(saleId, uid).replace(/^http(.*)\/buy\/(.*)$/, "ws$1/live?ticket=$2"));
  try {
    return await new Promise<BuyAnswer>((resolve, reject) => {
      socket.on("error", reject);
      socket.on("open", () => socket.send(JSON.stringify({ op: "buy", ref: 1, ...frame })));
      socket.on("message", (data: Buffer) => {
        const answer = JSON.parse(data.toString()) as BuyAnswer & { readonly op: string };
        if (answer.op === "outcome") resolve(answer);
      });
    });
  } finally {
    socket.terminate();
  }
};

/** Every holder hears the first answer, everybody else that the sale is over. */
const everybodyHears = async (saleId: string, holders: readonly Bought[]): Promise<void> => {
  for (const { uid, key, orderId, units } of holders) {
    const first = { code: "confirmed", orderId, units };
    expect(await world.buy(saleId, uid, keyOf(key)), `${uid} ${key}`).toMatchObject({ status: 200, ...first });
    expect(await world.once("GET", world.urlOf(saleId, uid), keyOf(key))).toMatchObject({ status: 200, ...first });
    expect(await buyOnSocket(saleId, uid, key === "" ? {} : { key })).toMatchObject(first);
  }
  expect(await world.buy(saleId, "stranger")).toMatchObject({ status: 403, code: "closed" });
  expect(await world.once("GET", world.urlOf(saleId, "stranger"))).toMatchObject({ status: 200, code: "none" });
  expect(await buyOnSocket(saleId, "stranger", {})).toMatchObject({ code: "closed" });
};

describe("a sale that is over", { timeout: 180_000 }, () => {
  const one: Bought[] = [];
  const three: Bought[] = [];

  it("is archived when it is closed, its orders are paid or over and its units rest, and not before", async () => {
    await world.openStocked("one", 6, { shardCount: 2, payWithinMs: DAY_MS });
    await world.openStocked("three", 12, { shardCount: 2, payWithinMs: DAY_MS, limitPerBuyer: 3 });
    for (let n = 0; n < 4; n += 1) one.push(await buy("one", `b${n}`));
    three.push(await buy("three", "ann", "k1"), await buy("three", "ann", "k2", 2), await buy("three", "bob", "", 3));
    await Promise.all([stored("one", one.length), stored("three", three.length)]);

    await expect(change("one", "archived")).rejects.toThrow(/409.*on sale: close it first/);
    await change("one", "closed");
    await expect(change("one", "archived")).rejects.toThrow(/409.*neither paid nor over/);
    for (const order of one.slice(1)) expect(await pay("one", order)).toMatchObject({ decision: "kept" });
    await world.admin(`/orders/${one[0]?.orderId}/cancel`, { saleId: "one", uid: one[0]?.uid });
    expect(await change("one", "archived")).toMatchObject({ id: "one", state: "archived" });
    expect(await change("one", "archived")).toMatchObject({ state: "archived" });
    expect(await change("one", "closed")).toMatchObject({ state: "archived" });
    await leavesRedis("one");

    for (const order of three) await pay("three", order);
    await change("three", "closed");
    await change("three", "archived");
    await leavesRedis("three");
  });

  it("answers its buyers from Postgres: the first answer to who holds something, `closed` to everybody else", async () => {
    await everybodyHears("one", one);
    await everybodyHears("three", three);
    expect(await world.once("GET", world.urlOf("three", "ann"), keyOf("k3"))).toMatchObject({ code: "none" });
    const shown = (await (await fetch(`${info.gateway}/sales/one`)).json()) as { readonly state: string };
    expect(shown.state).toBe("closed");
  });

  it("is changed no more, and listed when that is asked for", async () => {
    await expect(change("one", "open")).rejects.toThrow(/409.*sale one is archived/);
    await expect(change("one", "paused")).rejects.toThrow(/409.*sale one is archived/);
    await expect(world.admin("/sales/one/units", { grantId: "more", units: 1 })).rejects.toThrow(/409.*sale one is archived/);
    const named = (sales: readonly SaleRecord[]) => sales.map(({ id, state }) => `${id} ${state}`);
    expect(named(await list())).not.toContain("one archived");
    expect(named(await list("?archived=true"))).toEqual(expect.arrayContaining(["one archived", "three archived"]));
    expect(await world.record("one")).toMatchObject({ state: "archived" });
  });

  it("takes a refund and late money in Postgres alone", async () => {
    const [late, refunded] = one as [Bought, Bought];
    expect(await world.admin(`/orders/${refunded.orderId}/refund`, { saleId: "one", uid: refunded.uid })).toMatchObject({
      state: "refunded",
    } satisfies Partial<OrderRecord>);
    expect(await pay("one", late)).toMatchObject({ decision: "refund", order: { state: "cancelled" } });
    expect(await world.auditAtRest("one")).toMatchObject({ total: 6, free: 4, sold: 2, rejected: 0, orphans: 0, duplicates: 0 });
    expect(await world.auditAtRest("three")).toMatchObject({ total: 12, free: 6, sold: 6 });
    expect(await keysOf("one")).toEqual([]);
    await everybodyHears("one", one);
  });

  it("does not come back with a Redis that is rebuilt, and a gateway that starts knows of it", async () => {
    await world.openStocked("next", 3, { shardCount: 2, payWithinMs: DAY_MS });
    const kept = await buy("next", "eve");
    await restartWith(world, ["redis-0", "redis-1"], empty);
    await until(async () => (await world.shards()).every(({ state }) => state === "open"), "the shards to be open", WITHIN_MS);
    expect(await world.buy("next", "eve")).toMatchObject({ code: "confirmed", orderId: kept.orderId });
    expect([...(await keysOf("one")), ...(await keysOf("three"))]).toEqual([]);

    const before = world.stack.pid(ProgramName.gateway);
    world.stack.kill(ProgramName.gateway);
    const isAnother = (): boolean => ![before, undefined].includes(world.stack.pid(ProgramName.gateway));
    await until(isAnother, "the gateway to be started again", WITHIN_MS);
    await world.stack.ready();
    await everybodyHears("one", one);
    await everybodyHears("three", three);
    expect(await world.auditAtRest("one")).toMatchObject({ total: 6, free: 4, sold: 2 });
  });

  it("never hears that there is nothing, while the workers are away", async () => {
    world.stack.kill(ProgramName.workers);
    const [holder] = three as [Bought];
    const answer = await world.once("POST", world.urlOf("three", holder.uid), keyOf(holder.key));
    expect(["try_again", "recovering", "confirmed"]).toContain(answer.code);
    expect(await world.buy("three", holder.uid, keyOf(holder.key))).toMatchObject({ code: "confirmed", orderId: holder.orderId });
  });
});
