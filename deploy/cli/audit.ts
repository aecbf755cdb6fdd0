import { writeFile } from "node:fs/promises";
import { Command } from "commander";
import { pino } from "pino";
import { NATS_SETTINGS, readConfig, REDIS_TLS_SETTINGS, redisTls } from "#program";
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
  nats: { NATS_URL: ready.nats.url, NATS_USER: ready.nats.user ?? undefined, NATS_PASSWORD: ready.nats.pass ?? undefined },
  databaseUrl: ready.databaseUrl,
});

const storesOfEnvironment = (environment: Environment): StoreAddresses => {
  const config = readConfig(["REDIS_SHARDS", ...REDIS_TLS_SETTINGS, ...NATS_SETTINGS, "DATABASE_URL", "DATABASE_CA_FILE"], environment);
  return {
    redisShards: config.REDIS_SHARDS,
    redisTls: redisTls(config),
    nats: config,
    databaseUrl: config.DATABASE_URL,
    databaseCaFile: config.DATABASE_CA_FILE,
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
