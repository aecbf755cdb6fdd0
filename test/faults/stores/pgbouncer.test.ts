import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  emptyDatabase,
  environment,
  hasPgBouncer,
  StackWorld,
  startPgBouncer,
  until,
  type PgBouncer,
  type TestDatabase,
} from "../../harness/index.ts";
import { confirmedOrders, crowd, expectSoldOut, expectStillTheirs, winnersOf } from "../../harness/store-crowd.ts";

/** A whole stack whose migrations, workers and audit reach Postgres through PgBouncer, which deals out transactions. */
const UNITS = 200;
const BUYERS = 300;

const isThere = await hasPgBouncer();
if (!isThere) console.warn("skipped: a sale through PgBouncer (Debian's package pgbouncer is not installed)");

describe.skipIf(!isThere)("a sale through PgBouncer", { timeout: 120_000 }, () => {
  let database: TestDatabase;
  let pool: PgBouncer;
  let world: StackWorld;
  beforeAll(async () => {
    database = await emptyDatabase();
    // fewer sessions than the workers open connections: they share them
    pool = await startPgBouncer({ databaseUrl: database.url, mode: "transaction", sessions: 5 });
    world = await StackWorld.start({ environment: { ...environment, DATABASE_URL: pool.url, DOORBUSTER_WORKER_PROCESSES: "2" } });
  }, 120_000);
  afterAll(async () => {
    await world?.close();
    await pool?.stop();
    await database?.drop();
  });

  it("is migrated, sells out exactly while the pool is started anew, and audits clean", async () => {
    await world.openSale("pooled", UNITS);
    const all = crowd(world, "pooled", 0, BUYERS);
    await all.until(50);
    await pool.kill();
    await pool.start();
    await all.done;
    expect(winnersOf(all.answers)).toHaveLength(UNITS);
    const orders = await confirmedOrders(world, "pooled", winnersOf(all.answers));
    await expectSoldOut(world, "pooled", UNITS);
    await expectStillTheirs(world, "pooled", orders);
  });

  it("expires what is not paid, and sells it again", async () => {
    await world.openSale("unpaid", 2, { payWithinMs: 300, shardCount: 1 });
    expect((await world.buy("unpaid", "ann")).orderId).toBeDefined();
    expect((await world.buy("unpaid", "bob")).orderId).toBeDefined();
    await until(async () => (await world.buy("unpaid", "cid")).orderId !== undefined, "a unit that came back to be sold", 30_000);
    await until(async () => (await world.auditAtRest("unpaid")).free === 2, "every order to expire", 30_000);
  });
});
