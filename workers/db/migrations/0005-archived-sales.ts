import { Migration } from "@mikro-orm/migrations";

/** Sales that have left Redis (DESIGN 7.6). */
export class ArchivedSales extends Migration {
  override up(): void {
    // A column and no value of `state`: workers of the version before read these sales as what they are, closed.
    this.addSql(`ALTER TABLE sales ADD COLUMN archived boolean NOT NULL DEFAULT false`);
    this.addSql(`ALTER TABLE sales ADD COLUMN closed_at timestamptz`);
    // What is asked several times a second must not read ten thousand sales of last year.
    this.addSql(`CREATE INDEX sales_present ON sales (id) WHERE NOT archived`);
    this.addSql(`ALTER TABLE sale_shards ADD COLUMN dropped_epoch bigint`);
    this.addSql(`CREATE INDEX sale_shards_undropped ON sale_shards (shard) WHERE dropped_epoch = 0`);
  }

  override down(): void {
    this.addSql(`DROP INDEX sale_shards_undropped`);
    this.addSql(`ALTER TABLE sale_shards DROP COLUMN dropped_epoch`);
    this.addSql(`DROP INDEX sales_present`);
    this.addSql(`ALTER TABLE sales DROP COLUMN closed_at`);
    this.addSql(`ALTER TABLE sales DROP COLUMN archived`);
  }
}
