import { Migration } from "@mikro-orm/migrations";
import type { EntityManager, Knex } from "@mikro-orm/postgresql";
import { Barrier, Step } from "./barrier.ts";
import { Message, type Sent } from "./message.ts";

const TABLE = "barriers";
/** dtm's word for a step that never happens */
const ROLLBACK = "rollback";
const COLUMNS = ["trans_type", "gid", "branch_id", "op", "barrier_id", "reason"] as const;

/**
 * Creates the table of the SQL barrier in the user's own database: dtm's columns and its unique key, so that dtm's
 * clients can use it too (their table name is a setting). Add it to the migrations list, or run `createBarriers`.
 */
export class CreateBarriers extends Migration {
  override up(): void {
    this.addSql(BARRIERS_SQL);
  }

  override down(): void {
    this.addSql(`DROP TABLE ${TABLE}`);
  }
}

export const BARRIERS_SQL = `CREATE TABLE IF NOT EXISTS ${TABLE} (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  trans_type varchar(45) NOT NULL DEFAULT '',
  gid varchar(128) NOT NULL DEFAULT '',
  branch_id varchar(128) NOT NULL DEFAULT '',
  op varchar(45) NOT NULL DEFAULT '',
  barrier_id varchar(45) NOT NULL DEFAULT '',
  reason varchar(45) NOT NULL DEFAULT '',
  create_time timestamptz(0) NOT NULL DEFAULT now(),
  update_time timestamptz(0) NOT NULL DEFAULT now(),
  CONSTRAINT uniq_barrier UNIQUE (gid, branch_id, op, barrier_id)
)`;

/** Creates the table if it is not there. */
export const createBarriers = async (em: EntityManager): Promise<void> => {
  await em.getConnection().execute(BARRIERS_SQL);
};

const transaction = (em: EntityManager): Knex.Transaction => {
  const knex = em.getTransactionContext<Knex.Transaction>();
  if (knex === undefined) throw new Error("the barrier needs a transaction");
  return knex;
};

/** @returns true if the row was not there */
const insert = async (em: EntityManager, values: readonly string[]): Promise<boolean> => {
  const marks = values.map(() => "?").join(", ");
  const answer = await transaction(em).raw<{ rowCount: number }>(
    `INSERT INTO ${TABLE} (${COLUMNS.join(", ")}) VALUES (${marks}) ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING`,
    [...values],
  );
  return answer.rowCount === 1;
};

const reasonOf = async (em: EntityManager, gid: string, branchId: string, op: string, barrierId: string): Promise<string | undefined> => {
  const answer = await transaction(em).raw<{ rows: readonly { reason: string }[] }>(
    `SELECT reason FROM ${TABLE} WHERE gid = ? AND branch_id = ? AND op = ? AND barrier_id = ?`,
    [gid, branchId, op, barrierId],
  );
  return answer.rows[0]?.reason;
};

/**
 * Makes a local step in Postgres once: the barrier's row and the step commit together, or neither does. A step that
 * returns `failure` or throws is rolled back with its barrier; a message's own step that failed is then barred by a row
 * that says so, unless a rival call with the same gid made it meanwhile: then it is done.
 */
export const callDb = async (barrier: Barrier, em: EntityManager, step: (em: EntityManager) => Promise<Step | void>): Promise<Step> => {
  const id = barrier.nextId();
  const { transType, gid, branchId, op, undone } = barrier;
  const failed = new Error("the step failed");
  try {
    return await em.transactional(async (inner) => {
      const compensatesNothing = undone !== undefined && (await insert(inner, [transType, gid, branchId, undone, id, op]));
      if (!(await insert(inner, [transType, gid, branchId, op, id, op])))
        return before(barrier, await reasonOf(inner, gid, branchId, op, id));
      if (compensatesNothing) return Step.done;
      const result = (await step(inner)) ?? Step.done;
      if (result === Step.failure) throw failed;
      return result;
    });
  } catch (error) {
    if (error !== failed) throw error;
    if (!barrier.isOfMessage) return Step.failure;
    return em.transactional(async (inner) => {
      await insert(inner, [transType, gid, branchId, op, id, ROLLBACK]);
      return before(barrier, await reasonOf(inner, gid, branchId, op, id));
    });
  }
};

/** What a barrier that is there already says: done before, or declared not to happen by a query-back, a failure, a compensation. */
const before = (barrier: Barrier, reason: string | undefined): Step => {
  if (reason === barrier.op) return Step.duplicate;
  barrier.bar();
  return Step.failure;
};

/** `Message.doAndSubmit` with the local step in a Postgres transaction behind the SQL barrier. */
export const doAndSubmitDb = (
  message: Message,
  queryUrl: string,
  em: EntityManager,
  step: (em: EntityManager) => Promise<Step | void>,
): Promise<Sent> => message.doAndSubmit(queryUrl, (barrier) => callDb(barrier, em, step));

/**
 * Answers a query-back about a step made by `doAndSubmitDb`: `done`, or `failure`, and then it never will happen. A
 * step whose transaction is still open is waited for.
 */
export const queryPreparedDb = (barrier: Barrier, em: EntityManager): Promise<Step> =>
  em.transactional(async (inner) => {
    const { gid } = barrier;
    await insert(inner, [barrier.transType, gid, "00", "msg", "01", ROLLBACK]);
    return (await reasonOf(inner, gid, "00", "msg", "01")) === ROLLBACK ? Step.failure : Step.done;
  });
