import { MikroORM, type Knex } from "@mikro-orm/postgresql";
import { databaseTls } from "#program/tls";
import { parsePosition, type Position } from "#lua/core/position";
import { DifferenceKind, type Difference } from "./difference.ts";
import type { PostgresFacts, TransferSource } from "./facts.ts";
import { ORDER_LINE } from "./order-line.ts";
import { readUnmatched } from "./unmatched.ts";

const ORDERS_A_PAGE = 20_000;

/** The auditor's own connection: no entities, so that it shares no code with what it judges. */
export interface AuditDatabase {
  /** runs `read` in one read-only snapshot */
  snapshot<T>(read: (snapshot: Snapshot) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

interface Snapshot {
  facts(): Promise<PostgresFacts>;
  /** Pages of all orders, one line an order (see `ORDER_LINE`). */
  orders(): AsyncGenerator<readonly string[]>;
}

type Row = Readonly<Record<string, unknown>>;
const rows = async (sql: Knex, text: string): Promise<readonly Row[]> => (await sql.raw<{ rows: Row[] }>(text)).rows;

const transferPosition = (row: Row): Position | undefined => parsePosition(/^t\d+-(.*)$/.exec(String(row["id"]))?.[1] ?? "");

/** A transfer's grant is called after the entry that took its units out; of one that is not, they left before all that is there. */
const sourceOf = (row: Row): TransferSource | undefined =>
  row["from_shard"] === null ? undefined : { shard: Number(row["from_shard"]), ...(transferPosition(row) ?? { epoch: 0, seq: 0 }) };

const unreadableGrants = (grants: readonly Row[]): readonly Difference[] =>
  grants
    .filter((row) => row["from_shard"] !== null && transferPosition(row) === undefined)
    .map((row) => ({
      kind: DifferenceKind.unreadable,
      saleId: String(row["sale_id"]),
      shard: Number(row["shard"]),
      uid: null,
      count: 1,
      detail: `grant ${JSON.stringify(row["id"])} brings units of another shard, and its id is no transfer's`,
    }));

/** A returned grant is called after its order. */
const orderOf = (row: Row): Position | undefined =>
  row["kind"] === "returned" ? parsePosition(/^r\d+-(\d+-\d+)-\d+$/.exec(String(row["id"]))?.[1] ?? "") : undefined;

const readFacts = async (sql: Knex): Promise<PostgresFacts> => {
  const shards = await rows(sql, "SELECT shard, epoch, applied FROM shards");
  const sales = await rows(
    sql,
    "SELECT id, total_units, limit_per_buyer, coalesce(sold_out_version = returns_seq, false) AS sold_out, archived FROM sales ORDER BY id",
  );
  const saleShards = await rows(
    sql,
    "SELECT sale_id, shard, quota, sold, coalesce(dropped_epoch > 0, false) AS dropped FROM sale_shards ORDER BY sale_id, shard",
  );
  const grants = await rows(sql, "SELECT id, sale_id, shard, units, kind, state, from_shard FROM grants");
  return {
    shards: new Map(
      shards.map((row) => [
        Number(row["shard"]),
        { shard: Number(row["shard"]), epoch: Number(row["epoch"]), applied: Number(row["applied"]) },
      ]),
    ),
    sales: new Map(
      sales.map((row) => [
        String(row["id"]),
        {
          id: String(row["id"]),
          totalUnits: Number(row["total_units"]),
          limitPerBuyer: Number(row["limit_per_buyer"]),
          soldOut: row["sold_out"] === true,
          isArchived: row["archived"] === true,
        },
      ]),
    ),
    saleShards: saleShards.map((row) => ({
      saleId: String(row["sale_id"]),
      shard: Number(row["shard"]),
      quota: Number(row["quota"]),
      sold: Number(row["sold"]),
      isDropped: row["dropped"] === true,
    })),
    grants: grants.map((row) => ({
      id: String(row["id"]),
      saleId: String(row["sale_id"]),
      shard: Number(row["shard"]),
      units: Number(row["units"]),
      returned: row["kind"] === "returned",
      done: row["state"] === "done",
      from: sourceOf(row),
      order: orderOf(row),
    })),
    unmatched: [...(await readUnmatched(sql)), ...unreadableGrants(grants)],
  };
};

/** A server-side cursor: a million orders pass through without ever being in memory together. */
async function* readOrders(sql: Knex): AsyncGenerator<readonly string[]> {
  await sql.raw(`DECLARE audit_orders NO SCROLL CURSOR FOR SELECT ${ORDER_LINE} FROM orders`);
  for (;;) {
    const page = await rows(sql, `FETCH ${ORDERS_A_PAGE} FROM audit_orders`);
    if (page.length === 0) break;
    yield page.map((row) => row["line"] as string);
  }
  await sql.raw("CLOSE audit_orders");
}

export const openAuditDatabase = async (url: string, caFile?: string): Promise<AuditDatabase> => {
  const ssl = databaseTls(url, caFile);
  const orm = await MikroORM.init({
    clientUrl: url,
    entities: [],
    discovery: { warnWhenNoEntities: false },
    pool: { min: 0, max: 2 },
    ...(ssl === undefined ? {} : { driverOptions: { connection: { ssl } } }),
    connect: false,
  });
  const knex = orm.em.getKnex();
  return {
    snapshot: (read) =>
      knex.transaction((transaction) => read({ facts: () => readFacts(transaction), orders: () => readOrders(transaction) }), {
        isolationLevel: "repeatable read",
        readOnly: true,
      }),
    close: () => orm.close(true),
  };
};
