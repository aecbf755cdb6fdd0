import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { logReason } from "./log-reason.ts";
import { Part } from "./part.ts";
import { freePort } from "./port.ts";
import { httpReady } from "./probe.ts";
import type { Environment, Run } from "./run.ts";
import type { Stores } from "./stores.ts";

const execute = promisify(execFile);

/** Our programs, in the order in which they stop. */
export const ProgramName = { gateway: "gateway", coordinator: "coordinator", workers: "workers" } as const;
export type ProgramName = (typeof ProgramName)[keyof typeof ProgramName];

/** Idle it takes 2 s; two cores that run tests beside it need ten times as long only to load the modules. */
const READY_WITHIN_MS = 120_000;
/** A gateway answers what it holds for up to 10 s (DOORBUSTER_DRAIN_MS). */
const STOP_WITHIN_MS = 15_000;

export interface Programs {
  readonly parts: Readonly<Record<ProgramName, Part>>;
  readonly gatewayUrl: string;
  readonly adminUrl: string;
  readonly adminToken: string;
  readonly coordinatorUrl: string;
  /** where each tells its metrics and health */
  readonly metricsUrls: Readonly<Record<ProgramName, string>>;
  /** as DOORBUSTER_TICKET_KEYS takes them */
  readonly ticketKeys: string;
}

/** @returns the URL at which `program` finds a store; `store` is a part's name: redis-0 ..., nats, postgres */
export type Route = (program: ProgramName, store: string, url: string) => Promise<string>;

const direct: Route = (_program, _store, url) => Promise.resolve(url);

/** Variables that only some of the programs get. */
const PRIVATE = ["DATABASE_URL", "DOORBUSTER_ADMIN_TOKEN", "DOORBUSTER_TICKET_KEYS", "DOORBUSTER_COORDINATOR_TOKEN"] as const;

const withoutPrivate = (environment: Environment): Environment => ({
  ...environment,
  ...Object.fromEntries(PRIVATE.map((name) => [name, undefined])),
});

/** Without its user and password. */
const placeOf = (url: string): string => (URL.canParse(url) ? `${new URL(url).host}${new URL(url).pathname}` : "the address given");

/** Runs the program that applies the migrations, once, to its end. */
export const migrate = async (run: Run, dist: string, databaseUrl: string): Promise<void> => {
  const program = join(dist, "workers", "migrate.js");
  try {
    const { stdout } = await execute(process.execPath, [program], {
      cwd: "/",
      env: { ...withoutPrivate(run.environment), DATABASE_URL: databaseUrl, DOORBUSTER_RUN: run.id },
      signal: run.ending,
    });
    await appendFile(run.logFile("migrate"), stdout);
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    const reason = logReason(stdout) || stderr || (error as Error).message;
    throw new Error(`the migrations could not be applied to Postgres at ${placeOf(databaseUrl)}: ${reason}`, { cause: error });
  }
};

const PORTS = {
  gateway: "DOORBUSTER_GATEWAY_PORT",
  admin: "DOORBUSTER_ADMIN_PORT",
  gatewayMetrics: "DOORBUSTER_GATEWAY_METRICS_PORT",
  coordinator: "DOORBUSTER_COORDINATOR_PORT",
  coordinatorMetrics: "DOORBUSTER_COORDINATOR_METRICS_PORT",
  workers: "DOORBUSTER_WORKERS_PORT",
} as const;

/** Free ones where the environment names none. */
const portsOf = async (given: Environment): Promise<Readonly<Record<keyof typeof PORTS, number>>> => {
  const ports = Object.entries(PORTS).map(async ([use, name]) => [use, Number(given[name]) || (await freePort())] as const);
  return Object.fromEntries(await Promise.all(ports)) as Record<keyof typeof PORTS, number>;
};

/** Prepares gateway, coordinator and workers, with secrets and ports of their own where the environment names none. */
export const makePrograms = async (run: Run, dist: string, stores: Stores, route: Route = direct): Promise<Programs> => {
  const given = run.environment;
  const ports = await portsOf(given);
  const adminTokens = given["DOORBUSTER_ADMIN_TOKEN"] ?? randomBytes(24).toString("base64url");
  // ours is the first of several
  const [adminToken = ""] = adminTokens.trim().split(/\s+/);
  const ticketKeys = given["DOORBUSTER_TICKET_KEYS"] ?? `local:${randomBytes(32).toString("base64url")}`;

  const shared: Environment = {
    ...withoutPrivate(given),
    NATS_USER: stores.nats.user,
    NATS_PASSWORD: stores.nats.pass,
    DOORBUSTER_EXIT_WITH_PARENT: "true",
  };
  const program = async (name: ProgramName, readyUrl: string, settings: Environment): Promise<Part> => {
    const servers = [...new Set(stores.redis)];
    const routed = await Promise.all(servers.map(({ url, part }, server) => route(name, part?.name ?? `redis-${server}`, url)));
    const redis = stores.redis.map((store) => routed[servers.indexOf(store)]);
    const NATS_URL = await route(name, "nats", stores.nats.url);
    return new Part(run, {
      name,
      command: process.execPath,
      args: [join(dist, name, "main.js")],
      environment: { ...shared, REDIS_SHARDS: redis.join(","), NATS_URL, ...settings },
      isReady: () => httpReady(readyUrl),
      readyWithinMs: READY_WITHIN_MS,
      stopSignal: "SIGTERM",
      stopWithinMs: STOP_WITHIN_MS,
    });
  };
  const at = (port: number): string => `http://127.0.0.1:${port}`;
  return {
    parts: {
      gateway: await program(ProgramName.gateway, `${at(ports.gateway)}/readyz`, {
        DOORBUSTER_GATEWAY_HOST: given["DOORBUSTER_GATEWAY_HOST"] ?? "127.0.0.1",
        DOORBUSTER_GATEWAY_PORT: String(ports.gateway),
        // no balancer stands in front
        DOORBUSTER_STOP_NOTICE_MS: given["DOORBUSTER_STOP_NOTICE_MS"] ?? "0",
        DOORBUSTER_GATEWAY_METRICS_PORT: String(ports.gatewayMetrics),
        DOORBUSTER_ADMIN_PORT: String(ports.admin),
        DOORBUSTER_ADMIN_TOKEN: adminTokens,
        DOORBUSTER_TICKET_KEYS: ticketKeys,
      }),
      coordinator: await program(ProgramName.coordinator, `${at(ports.coordinator)}/readyz`, {
        DOORBUSTER_COORDINATOR_PORT: String(ports.coordinator),
        DOORBUSTER_COORDINATOR_METRICS_PORT: String(ports.coordinatorMetrics),
        DOORBUSTER_COORDINATOR_TOKEN: given["DOORBUSTER_COORDINATOR_TOKEN"],
      }),
      workers: await program(ProgramName.workers, `${at(ports.workers)}/readyz`, {
        DATABASE_URL: await route(ProgramName.workers, "postgres", stores.postgres.url),
        DOORBUSTER_WORKERS_PORT: String(ports.workers),
      }),
    },
    gatewayUrl: at(ports.gateway),
    adminUrl: at(ports.admin),
    adminToken,
    coordinatorUrl: at(ports.coordinator),
    metricsUrls: { gateway: at(ports.gatewayMetrics), coordinator: at(ports.coordinatorMetrics), workers: at(ports.workers) },
    ticketKeys,
  };
};
