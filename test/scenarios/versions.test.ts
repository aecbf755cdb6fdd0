import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { OrderRecord, PaidOrder } from "#protocol";
import { KnownSale } from "../../gateway/index.ts";
import { ProgramName } from "../../deploy/local/index.ts";
import { applyMigrations } from "../../workers/index.ts";
import { LiveSale } from "../harness/live-sale.ts";
import { environment, StackWorld, until, type BuyAnswer } from "../harness/index.ts";
import { hasCommit, MixedPrograms, Version } from "../harness/versions.ts";

/**
 * The version before, whose programs have to work beside these (coordinator/protocol/README.md says by which rules). The
 * commit of the last release, or the one at which work on this version began: whoever begins the next sets it anew.
 */
const BEFORE = "1ec634c6df440f9f768a8f9abb6f3648bb2473c2";

const { gateway, coordinator, workers } = ProgramName;
/**
 * Each step replaces one program. With the first set-up, in which all are of the version before, these are all eight: each
 * program was once old beside new others and once new beside old others, and some went back.
 */
const STEPS = [
  [workers, Version.now],
  [coordinator, Version.now],
  [workers, Version.before],
  [gateway, Version.now],
  [coordinator, Version.before],
  [workers, Version.now],
  [coordinator, Version.now],
] as const;

const UNITS = 24;
const BUYERS_AT_ONCE = 8;
const DAY_MS = 86_400_000;
const WITHIN_MS = 60_000;

const isHere = await hasCommit(BEFORE);
if (!isHere) console.warn(`skipped: this clone has no history back to ${BEFORE}, so its programs cannot be built`);

describe.skipIf(!isHere)("programs of this version and of the one before, together", { timeout: 300_000 }, () => {
  let programs: MixedPrograms;
  let world: StackWorld;
  let sql: Client;
  beforeAll(async () => {
    programs = await MixedPrograms.build(BEFORE);
    world = await StackWorld.start({
      shards: 2,
      redis: 2,
      dist: programs.dist,
      restartAfterMs: 50,
      environment: {
        ...environment,
        DOORBUSTER_GATEWAY_PROCESSES: "1",
        DOORBUSTER_WORKER_PROCESSES: "1",
      },
    });
    const { databaseUrl } = await world.stack.info();
    // before any program is replaced, as an update does it: the programs of the version before run on the new tables
    await applyMigrations(databaseUrl);
    sql = new Client({ connectionString: databaseUrl });
    await sql.connect();
  }, 180_000);
  afterAll(async () => {
    await sql?.end();
    await world?.close();
    await programs?.remove();
  });

  const replace = async (program: ProgramName, version: Version): Promise<void> => {
    const before = world.stack.pid(program);
    await programs.set(program, version);
    world.stack.kill(program, "SIGTERM");
    const isReplaced = (): boolean => world.stack.pid(program) !== undefined && world.stack.pid(program) !== before;
    await until(isReplaced, `${program} to be replaced`, WITHIN_MS);
    await world.stack.ready();
  };

  it("sell one sale through every mixture, open others, and lose nothing", async () => {
    const live = await LiveSale.open(world, "live", { shardCount: 2 });
    await sellThrough("all-before");
    for (const [n, [program, version]] of STEPS.entries()) {
      await replace(program, version);
      await sellThrough(`step-${n}-${program}-${version}`);
    }
    expect(await live.end()).toEqual([]);
  });

  /** Buyers whose home is one shard: as many as there are units, so that the other shard's units have to come over. */
  const buyersAtOneHome = async (saleId: string, count: number): Promise<string[]> => {
    const sale = new KnownSale(await world.record(saleId));
    const home = sale.shardOf("b0");
    const uids: string[] = [];
    for (let n = 0; uids.length < count; n += 1) if (sale.shardOf(`b${n}`) === home) uids.push(`b${n}`);
    return uids;
  };

  const buyAll = async (saleId: string, uids: readonly string[]): Promise<readonly BuyAnswer[]> => {
    const answers: BuyAnswer[] = [];
    let next = 0;
    const one = async (): Promise<void> => {
      for (let n = next++; n < uids.length; n = next++) answers[n] = await world.buy(saleId, uids[n] as string);
    };
    await Promise.all(Array.from({ length: BUYERS_AT_ONCE }, one));
    return answers;
  };

  const isInPostgres = async (saleId: string, count: number): Promise<boolean> => {
    const { rows } = await sql.query<{ n: number }>("SELECT count(*)::int AS n FROM orders WHERE sale_id = $1", [saleId]);
    return rows[0]?.n === count;
  };
  /** Every shard of the sale has its present definition. */
  const isDelivered = async (saleId: string): Promise<boolean> => {
    const { rows } = await sql.query(
      `SELECT 1 FROM sale_shards ss JOIN sales s ON s.id = ss.sale_id
       WHERE s.id = $1 AND (ss.delivered_version < s.version OR ss.delivered_epoch = 0)`,
      [saleId],
    );
    return rows.length === 0;
  };
  const stateOf = async (saleId: string, uid: string): Promise<string | undefined> =>
    (await sql.query<{ state: string }>("SELECT state FROM orders WHERE sale_id = $1 AND uid = $2", [saleId, uid])).rows[0]?.state;

  /** A sale from its opening to its end, with everything that one program asks or tells another on the way. */
  const sellThrough = async (saleId: string): Promise<void> => {
    await world.openStocked(saleId, UNITS, { shardCount: 2, payWithinMs: DAY_MS });
    const uids = await buyersAtOneHome(saleId, UNITS + 4);
    const [first, second, third] = uids as [string, string, string];

    await world.admin(`/sales/${saleId}/state`, { state: "paused" });
    await until(() => isDelivered(saleId), `${saleId} to be paused on its shards`, WITHIN_MS);
    expect((await world.once("POST", world.urlOf(saleId, first))).code).toBe("paused");
    await world.admin(`/sales/${saleId}/state`, { state: "open" });
    await until(() => isDelivered(saleId), `${saleId} to be open on its shards`, WITHIN_MS);

    // told by the workers through the status event
    const pushed: unknown[] = [];
    const socket = new WebSocket(world.urlOf(saleId, second).replace(/^http(.*)\/buy\/(.*)$/, "ws$1/live?ticket=$2"));
    socket.on("message", (data: Buffer) => pushed.push(JSON.parse(data.toString())));
    await new Promise((resolve) => void socket.on("open", resolve));

    const answers = await buyAll(saleId, uids.slice(0, UNITS));
    expect(answers.map(({ code }) => code).filter((code) => code !== "reserved" && code !== "confirmed")).toEqual([]);
    const orderOf = (n: number): string => `/orders/${answers[n]?.orderId}`;
    await until(() => pushed.some((frame) => (frame as BuyAnswer).code === "confirmed"), "the push to the second buyer", WITHIN_MS);
    socket.close();
    await until(() => isInPostgres(saleId, UNITS), `the orders of ${saleId} to be in Postgres`, WITHIN_MS);
    expect((await world.buy(saleId, uids[UNITS] as string)).code).toBe("sold_out");

    // one order is paid, one given up, one not paid in time: two units come back and are sold again
    const paid = await world.admin(`${orderOf(0)}/payments`, { saleId, uid: first, paymentId: `${saleId}/1`, amountMinor: 1 });
    expect(paid as PaidOrder).toMatchObject({ decision: "kept", order: { state: "paid" } });
    expect((await world.admin(`${orderOf(1)}/cancel`, { saleId, uid: second })) as OrderRecord).toMatchObject({ state: "cancelled" });
    // the version before counts from the reservation, this one from when the order was stored
    await sql.query(
      `UPDATE orders SET reserved_at_ms = reserved_at_ms - $1::bigint, created_at = created_at - $1::bigint * interval '1 millisecond'
       WHERE sale_id = $2 AND uid = $3`,
      [DAY_MS, saleId, third],
    );
    await until(async () => (await stateOf(saleId, third)) === "expired", "the third order to expire", WITHIN_MS);
    await world.admin(`/sales/${saleId}/units`, { grantId: "more", units: 1 });
    for (const uid of uids.slice(UNITS, UNITS + 3))
      await until(async () => (await world.buy(saleId, uid)).orderId !== undefined, `${uid} to buy what came back`, WITHIN_MS);

    expect((await world.sales()).map(({ id }) => id)).toContain(saleId);
    const facts = await world.shards();
    expect(facts.map(({ state, sales }) => [state, sales > 0])).toEqual([
      ["open", true],
      ["open", true],
    ]);
    expect(await world.auditAtRest(saleId)).toMatchObject({ total: UNITS + 1, free: 0, sold: UNITS + 1, rejected: 0, duplicates: 0 });
    await world.admin(`/sales/${saleId}/state`, { state: "closed" });
  };
});
