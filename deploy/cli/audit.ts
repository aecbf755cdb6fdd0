import { writeFile } from "node:fs/promises";
import { Command } from "commander";
import { pino } from "pino";
import { readConfig } from "#program";
import { audit, compareInThread, openStores, StoreAway, type AuditReport, type StoreAddresses } from "../../workers/index.ts";
import type { Environment } from "../local/index.ts";
import { auditText } from "./audit-text.ts";
import { paletteOf } from "./color.ts";
import { readReadyFile, type ReadyFile } from "./ready-file.ts";

interface AuditOptions {
  readonly readyFile?: string;
  readonly json?: string;
}

/** Where a running stack keeps its stores. */
export const storesOf = (
  ready: Pick<ReadyFile, "redisShards" | "databaseUrl"> & {
    readonly nats: { readonly url: string; readonly user: string | null; readonly pass: string | null };
  },
): StoreAddresses => ({
  redisShards: ready.redisShards.split(","),
  natsUrl: ready.nats.url,
  natsUser: ready.nats.user ?? undefined,
  natsPassword: ready.nats.pass ?? undefined,
  databaseUrl: ready.databaseUrl,
});

const storesOfEnvironment = (environment: Environment): StoreAddresses => {
  const config = readConfig(["REDIS_SHARDS", "NATS_URL", "NATS_USER", "NATS_PASSWORD", "DATABASE_URL"], environment);
  return {
    redisShards: config.REDIS_SHARDS,
    natsUrl: config.NATS_URL,
    natsUser: config.NATS_USER,
    natsPassword: config.NATS_PASSWORD,
    databaseUrl: config.DATABASE_URL,
  };
};

/** Opens the stores, audits once and closes them. @throws StoreAway */
export const auditOnce = async (addresses: StoreAddresses): Promise<AuditReport> => {
  const stores = await openStores(addresses, compareInThread(), pino({ level: "silent" }));
  try {
    return await audit(stores);
  } finally {
    await stores.close();
  }
};

const run = async (options: AuditOptions, environment: Environment): Promise<void> => {
  const addresses = options.readyFile === undefined ? storesOfEnvironment(environment) : storesOf(await readReadyFile(options.readyFile));
  try {
    const report = await auditOnce(addresses);
    if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(report, undefined, 2)}\n`);
    process.stdout.write(auditText(report, paletteOf(process.stdout, environment)));
    if (!report.ok) process.exitCode = 1;
  } catch (error) {
    if (!(error instanceof StoreAway)) throw error;
    throw new Error(`nothing could be audited: ${error.message}`, { cause: error });
  }
};

/** `doorbuster audit` */
export const auditCommand = (environment: Environment): Command =>
  new Command("audit")
    .description("compare Redis and Postgres, also in the middle of a sale; exit 1 on any difference")
    .option("--ready-file <file>", "written by start or demo; otherwise REDIS_SHARDS, NATS_URL and DATABASE_URL tell where to look")
    .option("--json <file>", "write the report as JSON")
    .action((options: AuditOptions) => run(options, environment));
