import type { ConnectionOptions } from "node:tls";
import { Migrator } from "@mikro-orm/migrations";
import { IsolationLevel, MikroORM, type EntityManager, type Knex } from "@mikro-orm/postgresql";
import { databaseTls } from "#program/tls";
import { entities } from "./entities.ts";
import { migrations } from "./migrations/index.ts";

export type { EntityManager } from "@mikro-orm/postgresql";

/** bigint columns come as text from this layer: it converts nothing that it does not know. */
export type Row = Readonly<Record<string, unknown>>;
interface Result {
  readonly rows: readonly Row[];
  readonly rowCount: number;
}
/** One statement with real parameters, `?` each; arrays are Postgres arrays. */
export type Sql = (text: string, bindings?: readonly unknown[]) => Promise<Result>;

export interface DatabaseOptions {
  readonly url: string;
  /** PEM of the CA that signed the server's certificate: with it, no connection without TLS */
  readonly caFile?: string | undefined;
  /** most connections */
  readonly pool: number;
  /** shown in pg_stat_activity */
  readonly name: string;
}

interface TransactionOptions {
  /** read only, and every statement sees the state that the first one saw */
  readonly snapshot?: boolean;
}

/** The workers' Postgres. Every fault (server away, deadlock, connection lost) is an exception; all users repeat. */
export interface Database {
  readonly orm: MikroORM;
  /** one statement outside of a transaction */
  readonly sql: Sql;
  /** Entities outside of a transaction. Every call gives a unit of work of its own, for one request. */
  em(): EntityManager;
  /**
   * Both of what `work` is given are inside the transaction. What it changed of the entities that it loaded or created is
   * written at the latest before COMMIT; `sql` sees it only after `em.flush()`, and `em` does not see what `sql` did to
   * entities that it holds.
   * @throws also when the answer to COMMIT was lost: the outcome is unknown then
   */
  transaction<T>(work: (sql: Sql, em: EntityManager) => Promise<T>, options?: TransactionOptions): Promise<T>;
  isConnected(): Promise<boolean>;
  close(): Promise<void>;
}

/** A worker that is paused inside a transaction holds its shard's row no longer than this (DESIGN 4.6). */
const IDLE_IN_TRANSACTION_MS = 5_000;
/** A statement that runs longer is stuck: an apply takes about 15 ms, a page of a restore less. */
const STATEMENT_MS = 20_000;
const ACQUIRE_MS = 5_000;
/** Less: a server that takes the connection and says nothing is told of by its own error, not as a pool that is full. */
const CONNECT_MS = 3_000;
/**
 * Said in each transaction, and nothing to the session: a pool in front (PgBouncer) may give the next transaction another session,
 * and refuses start-up parameters. One message, without parameters, for both. A statement outside of a transaction waits for
 * locks at most, and who holds one is bounded by this.
 */
const BOUNDS = `SET LOCAL idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_MS}; SET LOCAL statement_timeout = ${STATEMENT_MS}`;

const SNAPSHOT = { isolationLevel: IsolationLevel.REPEATABLE_READ, readOnly: true } as const;
/** Named, because a database may have another default: whoever waited for a lock must see what was done meanwhile. */
const USUAL = { isolationLevel: IsolationLevel.READ_COMMITTED } as const;

const sqlOf =
  (knex: Knex): Sql =>
  async (text, bindings = []) =>
    knex.raw<Result>(text, bindings as Knex.RawBinding[]);

/** knex writes plain lines to standard output otherwise; every fault it would report reaches us as an exception. */
const silent = { warn: () => undefined, error: () => undefined, deprecate: () => undefined, debug: () => undefined };

const sslOf = ({ url, caFile }: Pick<DatabaseOptions, "url" | "caFile">): { readonly ssl?: ConnectionOptions } => {
  const ssl = databaseTls(url, caFile);
  return ssl === undefined ? {} : { ssl };
};

const initialize = (options: DatabaseOptions): Promise<MikroORM> =>
  MikroORM.init({
    clientUrl: options.url,
    entities,
    extensions: [Migrator],
    migrations: { migrationsList: migrations, snapshot: false, disableForeignKeys: false, silent: true },
    pool: { min: 0, max: options.pool, acquireTimeoutMillis: ACQUIRE_MS },
    driverOptions: {
      acquireConnectionTimeout: ACQUIRE_MS,
      log: silent,
      connection: { application_name: options.name, keepAlive: true, connectionTimeoutMillis: CONNECT_MS, ...sslOf(options) },
    },
    // The process starts while Postgres is away, and waits for it like for everything else.
    connect: false,
  });

export const connectDatabase = async (options: DatabaseOptions): Promise<Database> => {
  const orm = await initialize(options);
  return {
    orm,
    sql: sqlOf(orm.em.getKnex()),
    em: () => orm.em.fork(),
    transaction: (work, transactionOptions = {}) =>
      orm.em.fork().transactional(
        async (em) => {
          const context = em.getTransactionContext<Knex.Transaction>();
          if (context === undefined) throw new Error("no transaction in a transaction");
          await context.raw(BOUNDS);
          return await work(sqlOf(context), em);
        },
        transactionOptions.snapshot === true ? SNAPSHOT : USUAL,
      ),
    isConnected: () => orm.isConnected(),
    close: () => orm.close(true),
  };
};

const MIGRATION_LOCK = 0x6462_0001;

/**
 * Brings the database to the current tables. Safe to call by several at once and again.
 * @returns names of the migrations that were applied now
 */
export const applyMigrations = async (url: string, caFile?: string): Promise<readonly string[]> => {
  const orm = await initialize({ url, caFile, pool: 2, name: "doorbuster-migrate" });
  try {
    return await orm.em.getKnex().transaction(async (lock) => {
      await lock.raw("SELECT pg_advisory_xact_lock(?)", [MIGRATION_LOCK]);
      return (await orm.getMigrator().up()).map((migration) => migration.name);
    });
  } finally {
    await orm.close(true);
  }
};

/** Makes sure that every configured shard has its row: raw, because Postgres counts them. */
export const ensureShards = async (sql: Sql, count: number): Promise<void> => {
  await sql("INSERT INTO shards (shard) SELECT generate_series(0, ? - 1) ON CONFLICT DO NOTHING", [count]);
};
