import { availableParallelism } from "node:os";
import type { ConnectionOptions } from "node:tls";
import { Client, DatabaseError } from "pg";
import type { Config } from "#program";
import { SettingVerdict, type SettingProblems } from "#program/setting-problems";
import { databaseTls } from "#program/tls";
import { poolProblems, postgresProblems } from "#program/store-settings/postgres";
import type { Clock } from "#protocol/ports";
import type { Database } from "./database.ts";

/** A Postgres that was replaced, or whose settings were changed, is found this soon. */
const LOOK_EVERY_MS = 10_000;
const CONNECT_MS = 5_000;

/** Whether the workers' Postgres is set up so that what is committed in it stays (#program/store-settings). */
export class DatabaseSettings {
  readonly #database: Database;
  readonly #connections: number;
  readonly #problems: SettingProblems;
  readonly #url: string;
  readonly #ssl: ConnectionOptions | undefined;
  #hasBegun = false;

  constructor(
    database: Database,
    config: Config<"DATABASE_URL" | "DATABASE_CA_FILE" | "DOORBUSTER_DATABASE_POOL" | "DOORBUSTER_WORKER_PROCESSES">,
    problems: SettingProblems,
  ) {
    this.#database = database;
    const processes = config.DOORBUSTER_WORKER_PROCESSES === 0 ? availableParallelism() : config.DOORBUSTER_WORKER_PROCESSES;
    this.#connections = config.DOORBUSTER_DATABASE_POOL * processes;
    this.#problems = problems;
    this.#url = config.DATABASE_URL;
    this.#ssl = databaseTls(config.DATABASE_URL, config.DATABASE_CA_FILE);
  }

  /** Looks, and says what is wrong. @returns false if no order may be stored in it. @throws if it does not answer */
  async isSound(): Promise<boolean> {
    const found = [...(await postgresProblems(this.#database.sql, this.#connections)), ...poolProblems(await this.#begin())];
    this.#problems.note("Postgres", found);
    return !found.some(({ verdict }) => verdict === SettingVerdict.refuse);
  }

  /** Begins a transaction once. @returns why that is refused, in the words of who refuses; undefined if it is not */
  async #begin(): Promise<string | undefined> {
    if (this.#hasBegun) return undefined;
    // not by a pooled connection: knex keeps the reason of a BEGIN that failed to itself
    const client = new Client({
      connectionString: this.#url,
      connectionTimeoutMillis: CONNECT_MS,
      ...(this.#ssl === undefined ? {} : { ssl: this.#ssl }),
    });
    client.on("error", () => undefined);
    try {
      await client.connect();
      await client.query("BEGIN");
      await client.query("ROLLBACK");
      this.#hasBegun = true;
      return undefined;
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error;
      return error.message;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /** Looks now and then, until it is not sound any more. @param unsound called then */
  async watch(clock: Clock, stop: AbortSignal, fault: (error: unknown) => void, unsound: () => void): Promise<void> {
    while (!stop.aborted) {
      await clock.sleep(LOOK_EVERY_MS, stop);
      if (stop.aborted) return;
      const isSound = await this.isSound().catch((error: unknown) => {
        // away: what was found last still holds
        fault(error);
        return true;
      });
      if (!isSound) unsound();
    }
  }
}
