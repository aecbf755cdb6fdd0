import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { emptyDatabase, type TestDatabase } from "../../test/harness/index.ts";
import { applyMigrations, connectDatabase, type Database } from "./database.ts";

describe("migrations", () => {
  let empty: TestDatabase;
  let database: Database;

  beforeAll(async () => {
    empty = await emptyDatabase();
    database = await connectDatabase({ url: empty.url, pool: 2, name: "test" });
  });
  afterAll(async () => {
    await database.close();
    await empty.drop();
  });

  it("are applied once, also by two at the same time", async () => {
    const applied = await Promise.all([applyMigrations(empty.url), applyMigrations(empty.url)]);
    expect(applied.flat()).toEqual(["0001-tables", "0002-orders", "0003-flagged-epochs", "0004-pay-window", "0005-archived-sales"]);
    expect(await applyMigrations(empty.url)).toEqual([]);
  });

  it("make the tables that the entities describe", async () => {
    const { rows } = await database.sql(
      `SELECT c.table_name, c.column_name, c.udt_name, c.is_nullable FROM information_schema.columns c WHERE c.table_schema = 'public'`,
    );
    const inDatabase = new Map(rows.map((row) => [`${String(row["table_name"])}.${String(row["column_name"])}`, row]));
    const described = Object.values(database.orm.getMetadata().getAll()).flatMap((meta) =>
      Object.values(meta.properties)
        .filter((property) => property.fieldNames !== undefined && property.persist !== false)
        .flatMap((property) =>
          property.fieldNames.map((name, index) => ({
            column: `${meta.tableName}.${name}`,
            // neither the precision of a timestamp nor who numbers the rows makes a difference to reading
            type: property.columnTypes[index]?.replace("(6)", ""),
            nullable: property.nullable === true,
          })),
        ),
    );
    const short: Record<string, string> = { int4: "int", int8: "bigint", bool: "boolean" };
    for (const { column, type, nullable } of described) {
      const row = inDatabase.get(column);
      const udt = String(row?.["udt_name"]);
      expect({ column, type: short[udt] ?? udt, nullable: row?.["is_nullable"] === "YES" }).toEqual({ column, type, nullable });
    }
    const tables = new Set(described.map(({ column }) => column.split(".")[0]));
    const own = [...inDatabase.keys()].filter((column) => tables.has(column.split(".")[0]));
    expect(own.toSorted()).toEqual(described.map(({ column }) => column).toSorted());
  });

  it("differ from the entities only in what these leave to them: checks, partial indexes and a key of two columns", async () => {
    const difference = await database.orm.schema.getUpdateSchemaSQL({ wrap: false });
    // no CHECK on the table that takes every win: its states are the code's
    expect(difference.split("\n").filter((line) => line !== "" && !line.includes('add constraint "orders_state_check"'))).toEqual([
      'alter table "grants" drop constraint "grants_sale_id_shard_fkey";',
      'drop index "dead_letters_once";',
      'drop index "grants_sent";',
      'alter table "grants" drop constraint grants_check;',
      'alter table "grants" drop constraint grants_units_check;',
      'drop index "sales_present";',
      'alter table "sales" drop constraint sales_limit_per_buyer_check;',
      'alter table "sales" drop constraint sales_pay_within_ms_check;',
      'alter table "sales" drop constraint sales_price_minor_check;',
      'alter table "sales" drop constraint sales_total_units_check;',
      'drop index "orders_binding";',
      'drop index "orders_rejected";',
      'drop index "orders_unpaid";',
      'drop index "payments_kept";',
      'drop index "payments_order";',
      'alter table "payments" drop constraint payments_amount_minor_check;',
      'alter table "shards" drop constraint shards_check;',
      'drop index "sale_shards_undropped";',
      'alter table "sale_shards" drop constraint sale_shards_check;',
      'alter table "sale_shards" drop constraint sale_shards_sold_check;',
    ]);
  });
});
