import { Migration } from "@mikro-orm/migrations";

const ID = `text COLLATE "C"`;

/** The life of an order (DESIGN 9). */
export class Orders extends Migration {
  override up(): void {
    // 0: the orders of sales that are there already never expire, because nobody was told to pay for them.
    this.addSql(`ALTER TABLE sales ADD COLUMN pay_within_ms bigint NOT NULL DEFAULT 0 CHECK (pay_within_ms >= 0)`);
    // The deadline is made of a column that is there and the sale's window: the table that takes every win gets none to fill.
    this.addSql(`ALTER TABLE orders ADD COLUMN changed_at timestamptz`);
    // An order's insert took Postgres 7.4 us of CPU, 8.3 with this index, 6.7 with it and without ON CONFLICT (apply/postgres.ts). BRIN would
    // cost nothing, and every look would read all orders that ever were due; an index by order id would cost as much as this one.
    this.addSql(`CREATE INDEX orders_unpaid ON orders (sale_id, reserved_at_ms) WHERE state = 'pending_payment'`);
    // Whether a sweep may have told Redis of this grant: from then on its units are Redis's.
    this.addSql(`ALTER TABLE grants ADD COLUMN offered boolean NOT NULL DEFAULT false`);
    this.addSql(`
      CREATE TABLE payments (
        id text COLLATE "C" PRIMARY KEY,
        sale_id ${ID} NOT NULL,
        uid ${ID} NOT NULL,
        shard int NOT NULL,
        epoch bigint NOT NULL,
        seq bigint NOT NULL,
        idx int NOT NULL,
        amount_minor bigint CHECK (amount_minor >= 0),
        decision text NOT NULL CHECK (decision IN ('kept', 'reacquired', 'refund')),
        told int NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
      )`);
    this.addSql(`CREATE INDEX payments_order ON payments (shard, epoch, seq, idx)`);
    // A constraint: no order keeps the money of two payments.
    this.addSql(`CREATE UNIQUE INDEX payments_kept ON payments (shard, epoch, seq, idx) WHERE decision <> 'refund'`);
  }

  override down(): void {
    this.addSql(`DROP TABLE payments`);
    this.addSql(`ALTER TABLE grants DROP COLUMN offered`);
    this.addSql(`DROP INDEX orders_unpaid`);
    this.addSql(`ALTER TABLE orders DROP COLUMN changed_at`);
    this.addSql(`ALTER TABLE sales DROP COLUMN pay_within_ms`);
  }
}
