import { Migration } from "@mikro-orm/migrations";

/** Epochs that must not sell before nobody believes a withdrawn sold-out flag (DESIGN 7.4). */
export class FlaggedEpochs extends Migration {
  override up(): void {
    this.addSql(`ALTER TABLE shards ADD COLUMN flagged boolean NOT NULL DEFAULT false`);
  }

  override down(): void {
    this.addSql(`ALTER TABLE shards DROP COLUMN flagged`);
  }
}
