import { isDeepStrictEqual } from "node:util";
import { StorageType, type JetStreamManager, type KV, type NatsConnection } from "nats";
import { isReadable, listedSale } from "#protocol/listed-sale";
import type { SaleRecord } from "#protocol/sale";
import { SALES_BUCKET } from "#protocol/subjects";
import type { Database } from "../db/database.ts";
import { readSales, readVersions } from "./records.ts";

/** Advisory lock: one process at a time makes the bucket right. */
export const BUCKET_LOCK = 0x6462_0003;
/** How a bucket is stored (NATS ADR-8). */
const STREAM = `KV_${SALES_BUCKET}`;
const SUBJECT = `$KV.${SALES_BUCKET}.`;
/**
 * How long the marker of a deletion stays, one for each sale that was ever archived. A gateway that heard of none for longer
 * asks the workers when a Redis does not know the sale (gateway/buy/purchases.ts).
 */
const MARKER_MS = 600_000;

interface Held {
  readonly revision: number;
  /** undefined if it is not a sale */
  readonly record: Readonly<Record<string, unknown>> | undefined;
}

const recordOf = (json: () => unknown): Held["record"] => {
  try {
    const value = json();
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
};

/**
 * Whether everything that this version would write is there. What a worker of a later version has written beside it stays:
 * two versions that took each other's fields away would write for ever.
 */
const holds = ({ record }: Held, sale: SaleRecord): boolean =>
  record !== undefined && Object.entries(sale).every(([field, value]) => isDeepStrictEqual(record[field], value));

/** Not by `bucket.keys()`: nats.js 2.29 drops keys that arrive while an earlier one is being looked at. Old markers are removed. */
const readHeld = async (manager: JetStreamManager, bucket: KV, nowMs: number): Promise<Map<string, Held>> => {
  const { state } = await manager.streams.info(STREAM, { subjects_filter: `${SUBJECT}>` });
  const held = new Map<string, Held>();
  for (const subject of Object.keys(state.subjects ?? {})) {
    const key = subject.slice(SUBJECT.length);
    const entry = await bucket.get(key);
    if (entry === null) continue;
    if (entry.operation === "PUT") held.set(key, { revision: entry.revision, record: recordOf(() => entry.json()) });
    else if (nowMs - entry.created.getTime() > MARKER_MS) await manager.streams.purge(STREAM, { filter: subject, seq: entry.revision + 1 });
  }
  return held;
};

/**
 * Makes the bucket that gateways watch hold the sales that Postgres has and that are not archived (DESIGN 7.5): creates it if
 * it is missing, puts what differs, deletes the rest. Cheap when nothing changed.
 */
export class SalesBucket {
  readonly #database: Database;
  readonly #connection: NatsConnection;
  readonly #fault: (error: unknown) => void;
  /** the bucket's stream as this process left it; another incarnation or sequence means that it has to be read again */
  #seen: { readonly mark: string; readonly versions: ReadonlyMap<string, number> } | undefined;

  /** @param fault called with each record that cannot be read, when the bucket is written */
  constructor(database: Database, connection: NatsConnection, fault: (error: unknown) => void) {
    this.#database = database;
    this.#connection = connection;
    this.#fault = fault;
  }

  /** @returns false if another process is at it */
  converge(): Promise<boolean> {
    return this.#database.transaction(async (sql, em) => {
      const { rows } = await sql("SELECT pg_try_advisory_xact_lock(?) AS locked, extract(epoch FROM now()) * 1000 AS now_ms", [
        BUCKET_LOCK,
      ]);
      if (rows[0]?.["locked"] !== true) return false;
      const bucket = await this.#connection.jetstream().views.kv(SALES_BUCKET, { history: 1, storage: StorageType.File });
      if (this.#isCurrent(await this.#markOf(bucket), await readVersions(em))) return true;
      const sales = await readSales(em);
      await this.#write(bucket, sales, Number(rows[0]["now_ms"]));
      this.#seen = { mark: await this.#markOf(bucket), versions: new Map(sales.map((sale) => [sale.id, sale.version])) };
      return true;
    });
  }

  async #markOf(bucket: KV): Promise<string> {
    const { streamInfo } = await bucket.status();
    return `${streamInfo.created} ${streamInfo.state.last_seq}`;
  }

  #isCurrent(mark: string, versions: ReadonlyMap<string, number>): boolean {
    return this.#seen?.mark === mark && isDeepStrictEqual(this.#seen.versions, versions);
  }

  /** A record that no gateway could read is told of, and is left as the bucket has it; the others go on. */
  #readable(sales: readonly SaleRecord[]): readonly SaleRecord[] {
    return sales.filter((sale) => {
      const listed = listedSale(sale);
      if (!isReadable(listed)) this.#fault(new Error(`the record of sale ${JSON.stringify(sale.id)} cannot be read: ${listed.problem}`));
      return isReadable(listed);
    });
  }

  async #write(bucket: KV, all: readonly SaleRecord[], nowMs: number): Promise<void> {
    const held = await readHeld(await this.#connection.jetstreamManager({ checkAPI: false }), bucket, nowMs);
    const sales = this.#readable(all);
    const known = new Set(all.map(({ id }) => id));
    for (const sale of sales) {
      const entry = held.get(sale.id);
      held.delete(sale.id);
      if (entry !== undefined && holds(entry, sale)) continue;
      // A process that was paused while it held the lock must not put an older record over a newer one.
      await (entry === undefined
        ? bucket.create(sale.id, JSON.stringify(sale))
        : bucket.update(sale.id, JSON.stringify(sale), entry.revision));
    }
    for (const [id, entry] of held) if (!known.has(id)) await bucket.delete(id, { previousSeq: entry.revision });
  }
}
