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
    expect(applied.flat()).toEqual(["0001-tables", "0002-orders", "0003-flagged-epochs"]);
    expect(await applyMigrations(empty.url)).toEqual([]);
  });

  it("make the tables that the entities describe", async () => {
    const { rows } = await database.sql(
      `SELECT c.table_name, c.column_name, c.udt_name, c.is_nullable FROM information_schema.columns c WHERE c.table_schema = 'public'`,
    );
    const inDatabase = new Map(rows.map((row) => [`${String(row["table_name"])}.${String(row["column_name"])}`, row]));
    const described = Object.values(database.orm.getMetadata().getAll()).flatMap((meta) =>
      Object.values(meta.properties).map((property) => ({
        column: `${meta.tableName}.${property.fieldNames[0]}`,
        // neither the precision of a timestamp nor who numbers the rows makes a difference to reading
        type: property.columnTypes[0]?.replace("(0)", "").replace("bigserial", "bigint"),
        nullable: property.nullable === true,
      })),
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
});
