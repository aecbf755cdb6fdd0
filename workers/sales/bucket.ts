import { isDeepStrictEqual } from "node:util";
import { StorageType, type JetStreamClient, type KV } from "nats";
import { saleRecordSchema, type SaleRecord } from "../../coordinator/protocol/sale.ts";
import { SALES_BUCKET } from "../../coordinator/protocol/subjects.ts";
import type { Database } from "../db/database.ts";
import { readSales } from "./records.ts";

/** One process at a time makes the bucket right. */
const BUCKET_LOCK = 0x6462_0003;

interface Held {
  readonly revision: number;
  /** undefined if it is not a sale */
  readonly record: SaleRecord | undefined;
}

const readHeld = async (bucket: KV): Promise<Map<string, Held>> => {
  const held = new Map<string, Held>();
  for await (const key of await bucket.keys()) {
    const entry = await bucket.get(key);
    if (entry === null || entry.operation !== "PUT") continue;
    let record: SaleRecord | undefined;
    try {
      record = saleRecordSchema.parse(entry.json());
    } catch {
      record = undefined;
    }
    held.set(key, { revision: entry.revision, record });
  }
  return held;
};

/**
 * Makes the bucket that gateways watch hold exactly what Postgres holds (DESIGN 7.5): creates it if it is missing, puts
 * what differs, deletes what Postgres does not have. Cheap when nothing changed.
 */
export class SalesBucket {
  private readonly database: Database;
  private readonly jetStream: JetStreamClient;
  /** the bucket's stream as this process left it; another incarnation or sequence means that it has to be read again */
  private seen: { readonly mark: string; readonly versions: ReadonlyMap<string, number> } | undefined;

  constructor(database: Database, jetStream: JetStreamClient) {
    this.database = database;
    this.jetStream = jetStream;
  }

  /** @returns false if another process is at it */
  converge(): Promise<boolean> {
    return this.database.transaction(async (sql) => {
      const { rows } = await sql("SELECT pg_try_advisory_xact_lock(?) AS locked", [BUCKET_LOCK]);
      if (rows[0]?.["locked"] !== true) return false;
      const bucket = await this.jetStream.views.kv(SALES_BUCKET, { history: 1, storage: StorageType.File });
      const sales = await readSales(sql);
      if (this.isCurrent(await this.markOf(bucket), sales)) return true;
      await this.write(bucket, sales);
      this.seen = { mark: await this.markOf(bucket), versions: new Map(sales.map((sale) => [sale.id, sale.version])) };
      return true;
    });
  }

  private async markOf(bucket: KV): Promise<string> {
    const { streamInfo } = await bucket.status();
    return `${streamInfo.created} ${streamInfo.state.last_seq}`;
  }

  private isCurrent(mark: string, sales: readonly SaleRecord[]): boolean {
    return (
      this.seen?.mark === mark &&
      this.seen.versions.size === sales.length &&
      sales.every((sale) => this.seen?.versions.get(sale.id) === sale.version)
    );
  }

  private async write(bucket: KV, sales: readonly SaleRecord[]): Promise<void> {
    const held = await readHeld(bucket);
    for (const sale of sales) {
      const entry = held.get(sale.id);
      held.delete(sale.id);
      if (entry !== undefined && isDeepStrictEqual(entry.record, sale)) continue;
      // A process that was paused while it held the lock must not put an older record over a newer one.
      await (entry === undefined
        ? bucket.create(sale.id, JSON.stringify(sale))
        : bucket.update(sale.id, JSON.stringify(sale), entry.revision));
    }
    for (const [id, entry] of held) await bucket.delete(id, { previousSeq: entry.revision });
  }
}
