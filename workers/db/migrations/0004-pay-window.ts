import { Migration } from "@mikro-orm/migrations";

/**
 * The time to pay counts from when an order is stored (DESIGN 9). The index is the one that was there, by another column: it is built while
 * `orders` takes no inserts, some seconds for ten million orders that are not paid; what is bought meanwhile waits in the outboxes.
 */
export class PayWindow extends Migration {
  override up(): void {
    // Of the insert, not of its transaction, which may have waited for the shard's row. Workers of the version before do not name the column either.
    this.addSql(`ALTER TABLE orders ALTER COLUMN created_at SET DEFAULT clock_timestamp()`);
    this.addSql(`DROP INDEX orders_unpaid`);
    this.addSql(`CREATE INDEX orders_unpaid ON orders (sale_id, created_at) WHERE state = 'pending_payment'`);
  }

  override down(): void {
    this.addSql(`DROP INDEX orders_unpaid`);
    this.addSql(`CREATE INDEX orders_unpaid ON orders (sale_id, reserved_at_ms) WHERE state = 'pending_payment'`);
    this.addSql(`ALTER TABLE orders ALTER COLUMN created_at SET DEFAULT now()`);
  }
}
