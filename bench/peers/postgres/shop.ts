import { Pool } from "pg";
import { serveShop } from "../front.ts";

/**
 * No Redis, no queue: Fastify and `UPDATE ... WHERE amount > 0`. Update and order are one function, so that a purchase is
 * one round trip and the hot row is locked for no longer than the commit takes. Arguments: port, Postgres's URL.
 */
const [, , port = "", databaseUrl = ""] = process.argv;
const CONNECTIONS = 16;

const TABLES = `
SELECT pg_advisory_lock(1);
CREATE TABLE IF NOT EXISTS stock (amount bigint NOT NULL);
CREATE TABLE IF NOT EXISTS orders (uid text PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
CREATE OR REPLACE FUNCTION buy(buyer text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  UPDATE stock SET amount = amount - 1 WHERE amount > 0;
  IF NOT FOUND THEN RETURN EXISTS (SELECT FROM orders WHERE uid = buyer); END IF;
  INSERT INTO orders (uid) VALUES (buyer) ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN UPDATE stock SET amount = amount + 1; END IF;
  RETURN true;
END $$;
SELECT pg_advisory_unlock(1);`;

await serveShop(Number(port), async () => {
  const pool = new Pool({ connectionString: databaseUrl, max: CONNECTIONS });
  await pool.query(TABLES);
  return {
    buy: async (uid) => {
      const { rows } = await pool.query<{ won: boolean }>({ name: "buy", text: "SELECT buy($1) AS won", values: [uid] });
      return rows[0]?.won === true ? "won" : "sold_out";
    },
    restock: async (units) => {
      await pool.query("TRUNCATE stock, orders");
      await pool.query("INSERT INTO stock VALUES ($1)", [units]);
    },
  };
});
