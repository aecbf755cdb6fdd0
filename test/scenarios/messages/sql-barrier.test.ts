import { MikroORM, type EntityManager, type Knex } from "@mikro-orm/postgresql";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  Barrier,
  callDb,
  Coordinator,
  createBarriers,
  doAndSubmitDb,
  Message,
  queryPreparedDb,
  statusOf,
  Step,
} from "../../../coordinator/messages/client/index.ts";
import { emptyDatabase, until } from "../../harness/index.ts";
import { Api, newGid } from "../../harness/messages/api.ts";
import { startCoordinator, startStores, type RunningCoordinator, type Stores } from "../../harness/messages/coordinator.ts";
import { Services } from "../../harness/messages/services.ts";

let database: Awaited<ReturnType<typeof emptyDatabase>>;
let orm: MikroORM;
let stores: Stores;
let services: Services;
let coordinator: RunningCoordinator;
let client: Coordinator;
let api: Api;

beforeAll(async () => {
  [database, stores, services] = await Promise.all([emptyDatabase(), startStores(1), Services.start()]);
  orm = await MikroORM.init({ clientUrl: database.url, entities: [], discovery: { warnWhenNoEntities: false } });
  await createBarriers(orm.em.fork());
  await orm.em.fork().getConnection().execute("CREATE TABLE stock (id text PRIMARY KEY, units int NOT NULL CHECK (units >= 0))");
  coordinator = await startCoordinator(stores, { DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "200" });
  api = new Api(coordinator.url);
  client = new Coordinator({ url: coordinator.url });
  services.on("/query", async (received, response) => {
    response.writeHead(statusOf(await queryPreparedDb(Barrier.fromRequest(received.query), orm.em.fork()))).end();
  });
});
afterAll(async () => {
  await client?.close();
  await coordinator?.stop();
  await orm?.close(true);
  await Promise.all([services?.stop(), stores?.stop(), database?.drop()]);
});

// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller names the row it selects
const sql = async <T>(em: EntityManager, text: string, values: readonly unknown[]): Promise<{ rows: T[]; rowCount: number }> =>
  em.getTransactionContext<Knex.Transaction>()?.raw(text, values as Knex.RawBinding[]) as unknown as Promise<{
    rows: T[];
    rowCount: number;
  }>;
const put = (id: string, units: number): Promise<unknown> =>
  orm.em.fork().transactional((em) => sql(em, "INSERT INTO stock VALUES (?, ?)", [id, units]));
const left = async (id: string): Promise<number | undefined> =>
  (await orm.em.fork().transactional((em) => sql<{ units: number }>(em, "SELECT units FROM stock WHERE id = ?", [id]))).rows[0]?.units;
const take =
  (id: string) =>
  async (em: EntityManager): Promise<Step> =>
    (await sql(em, "UPDATE stock SET units = units - 1 WHERE id = ? AND units > 0", [id])).rowCount === 1 ? Step.done : Step.failure;
const message = (gid: string): Message => new Message(gid, client).add(`${services.url}/order`, { gid });

describe("the SQL barrier", () => {
  it("a step commits with its barrier and is delivered once; its repeat is a duplicate", async () => {
    const gid = newGid("sql");
    await put(gid, 5);
    const buy = (): ReturnType<typeof doAndSubmitDb> => doAndSubmitDb(message(gid), `${services.url}/query`, orm.em.fork(), take(gid));
    const both = await Promise.all([buy(), buy()]);
    expect(both.map(({ status }) => status)).toEqual(["submitted", "submitted"]);
    expect(await buy()).toEqual({ status: "submitted", duplicate: true });
    await api.until(gid, "succeed");
    expect(await left(gid)).toBe(4);
    expect(services.at("/order", gid)).toHaveLength(1);
  });

  it("a step that fails is rolled back and barred, also when stock comes back, and the message fails", async () => {
    const gid = newGid("sql-none");
    await put(gid, 0);
    expect(await doAndSubmitDb(message(gid), `${services.url}/query`, orm.em.fork(), take(gid))).toMatchObject({ status: "failed" });
    const rows = await orm.em.fork().transactional((em) => sql(em, "SELECT reason FROM barriers WHERE gid = ?", [gid]));
    expect(rows.rows).toEqual([{ reason: "rollback" }]);
    expect(await api.status(gid)).toBe("failed");
    await orm.em.fork().transactional((em) => sql(em, "UPDATE stock SET units = 1 WHERE id = ?", [gid]));
    expect(await callDb(Barrier.ofMessage(gid), orm.em.fork(), take(gid))).toBe(Step.failure);
    expect(await left(gid)).toBe(1);
  });

  it("a step that fails while a rival call of the same gid makes it is done, not aborted", async () => {
    const gid = newGid("sql-rival");
    await put(gid, 1);
    const waits = async (): Promise<boolean> =>
      (
        await orm.em
          .fork()
          .transactional((em) =>
            sql(em, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO barriers%'", []),
          )
      ).rowCount === 1;
    let rival: Promise<Step> | undefined;
    const em = orm.em.fork();
    const transactional = em.transactional.bind(em);
    let transactions = 0;
    // After the rollback either of the two may write its barrier first, as Postgres wakes them: here it is the rival.
    em.transactional = async (...call) => {
      transactions += 1;
      if (transactions === 2) await rival;
      return transactional(...call);
    };
    const quiet = message(gid).set({ timeoutToFailS: 60 });
    const sent = await doAndSubmitDb(quiet, `${services.url}/query`, em, async () => {
      rival = callDb(Barrier.ofMessage(gid), orm.em.fork(), take(gid));
      await until(waits, "the rival to wait for this transaction");
      return Step.failure;
    });
    expect(await rival).toBe(Step.done);
    expect([sent, await left(gid)]).toEqual([{ status: "submitted", duplicate: true }, 0]);
  });

  it("a query-back before the step bars it", async () => {
    const gid = newGid("sql-late");
    await put(gid, 1);
    const sent = await message(gid).doAndSubmit(`${services.url}/query`, async (barrier) => {
      await api.until(gid, "failed");
      return callDb(barrier, orm.em.fork(), take(gid));
    });
    expect(sent).toMatchObject({ status: "failed" });
    expect(await left(gid)).toBe(1);
  });

  it("a query-back waits for a step whose transaction is open, and then says yes", async () => {
    const gid = newGid("sql-open");
    await put(gid, 1);
    // asked when the test says so: on a busy machine the coordinator would ask before the barrier is there
    const quiet = message(gid).set({ timeoutToFailS: 600 });
    const sent = await doAndSubmitDb(quiet, `${services.url}/query`, orm.em.fork(), async (em) => {
      const step = await take(gid)(em);
      await api.post("/resetNextCronTime", { gid });
      await until(() => services.at("/query", gid).length > 0, "the query-back to ask");
      return step;
    });
    expect(sent).toEqual({ status: "submitted", duplicate: false });
    await api.until(gid, "succeed");
    expect(await left(gid)).toBe(0);
  });

  it("a compensation undoes only what happened, and bars it otherwise", async () => {
    const gid = newGid("sql-undo");
    await put(gid, 1);
    const barrier = (op: string): Barrier => new Barrier({ transType: "saga", gid, branchId: "01", op });
    const back = async (em: EntityManager): Promise<void> => void (await sql(em, "UPDATE stock SET units = units + 1 WHERE id = ?", [gid]));
    expect(await callDb(barrier("compensate"), orm.em.fork(), back)).toBe(Step.done);
    expect(await callDb(barrier("action"), orm.em.fork(), take(gid))).toBe(Step.failure);
    expect(await left(gid)).toBe(1);
  });
});
