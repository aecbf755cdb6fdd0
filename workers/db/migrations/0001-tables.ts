import { Migration } from "@mikro-orm/migrations";

const PARTITIONS = 8;
/** Ids are ASCII (protocol/ids.ts): "C" compares bytes, several times faster than a locale. */
const ID = `text COLLATE "C"`;

/** Written by hand: the schema generator knows neither partitions nor partial indexes. */
export class Tables extends Migration {
  override up(): void {
    // fillfactor: these rows change with every message; room on the page keeps the updates heap-only.
    this.addSql(`
      CREATE TABLE shards (
        shard int PRIMARY KEY,
        epoch bigint NOT NULL DEFAULT 0,
        applied bigint NOT NULL DEFAULT 0,
        attempt text NOT NULL DEFAULT '',
        mode text NOT NULL DEFAULT 'rebuild' CHECK (mode IN ('keep', 'rebuild')),
        gap_at bigint,
        gap_stream_seq bigint,
        wall boolean NOT NULL DEFAULT false,
        halted text,
        draining boolean NOT NULL DEFAULT false,
        CHECK ((gap_at IS NULL) = (gap_stream_seq IS NULL))
      ) WITH (fillfactor = 20)`);
    this.addSql(`
      CREATE TABLE sales (
        id ${ID} PRIMARY KEY,
        campaign ${ID} NOT NULL,
        title text NOT NULL,
        total_units bigint NOT NULL CHECK (total_units >= 0),
        price_minor bigint NOT NULL CHECK (price_minor >= 0),
        currency text NOT NULL,
        opens_at_ms bigint NOT NULL,
        closes_at_ms bigint NOT NULL,
        limit_per_buyer int NOT NULL CHECK (limit_per_buyer >= 1),
        state text NOT NULL CHECK (state IN ('open', 'paused', 'closed')),
        version int NOT NULL DEFAULT 1,
        returns_seq bigint NOT NULL DEFAULT 0,
        sold_out_version bigint,
        ever_sold_out boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now()
      )`);
    this.addSql(`
      CREATE TABLE sale_shards (
        sale_id ${ID} NOT NULL REFERENCES sales,
        shard int NOT NULL REFERENCES shards,
        quota bigint NOT NULL DEFAULT 0,
        sold bigint NOT NULL DEFAULT 0 CHECK (sold >= 0),
        delivered_version int NOT NULL DEFAULT 0,
        delivered_epoch bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (sale_id, shard),
        CHECK (sold <= quota)
      ) WITH (fillfactor = 20)`);
    // No foreign key and no index but the two that decide: this table takes every win.
    this.addSql(`
      CREATE TABLE orders (
        sale_id ${ID} NOT NULL,
        uid ${ID} NOT NULL,
        purchase_key ${ID} NOT NULL,
        shard int NOT NULL,
        epoch bigint NOT NULL,
        seq bigint NOT NULL,
        idx int NOT NULL,
        units int NOT NULL,
        state text NOT NULL,
        reason text,
        reserved_at_ms bigint NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
      ) PARTITION BY HASH (sale_id, uid)`);
    for (let part = 0; part < PARTITIONS; part += 1)
      this.addSql(`CREATE TABLE orders_${part} PARTITION OF orders FOR VALUES WITH (MODULUS ${PARTITIONS}, REMAINDER ${part})`);
    this.addSql(`CREATE UNIQUE INDEX orders_binding ON orders (sale_id, uid, purchase_key) WHERE state <> 'rejected'`);
    this.addSql(`CREATE INDEX orders_rejected ON orders (shard, epoch) WHERE state = 'rejected'`);
    this.addSql(`
      CREATE TABLE grants (
        sale_id ${ID} NOT NULL,
        id ${ID} NOT NULL,
        shard int NOT NULL,
        units bigint NOT NULL CHECK (units >= 1),
        kind text NOT NULL CHECK (kind IN ('opening', 'added', 'returned', 'transfer')),
        from_shard int,
        state text NOT NULL DEFAULT 'sent' CHECK (state IN ('sent', 'done')),
        flagged boolean NOT NULL DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (sale_id, id, shard),
        CHECK ((kind = 'transfer') = (from_shard IS NOT NULL)),
        FOREIGN KEY (sale_id, shard) REFERENCES sale_shards (sale_id, shard)
      )`);
    this.addSql(`CREATE INDEX grants_sent ON grants (shard) WHERE state = 'sent'`);
    this.addSql(`
      CREATE TABLE dead_letters (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        shard int NOT NULL,
        stream_seq bigint NOT NULL,
        body bytea NOT NULL,
        reason text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
      )`);
    // A stream that was lost and made anew uses its sequence numbers again, hence the body.
    this.addSql(`CREATE UNIQUE INDEX dead_letters_once ON dead_letters (shard, stream_seq, md5(body))`);
  }

  override down(): void {
    for (const table of ["dead_letters", "grants", "orders", "sale_shards", "sales", "shards"]) this.addSql(`DROP TABLE ${table}`);
  }
}
