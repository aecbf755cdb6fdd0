import { Argument, Command, Option } from "commander";
import { readConfig, type SettingName } from "#program";
import type { Environment } from "../local/index.ts";
import { wholeNumber } from "./option.ts";

/** Where each program has its pages of health and metrics. */
const PAGES = {
  gateway: ["DOORBUSTER_GATEWAY_METRICS_HOST", "DOORBUSTER_GATEWAY_METRICS_PORT"],
  coordinator: ["DOORBUSTER_COORDINATOR_METRICS_HOST", "DOORBUSTER_COORDINATOR_METRICS_PORT"],
  workers: ["DOORBUSTER_WORKERS_HOST", "DOORBUSTER_WORKERS_PORT"],
} as const satisfies Readonly<Record<string, readonly [host: SettingName, port: SettingName]>>;
type Asked = keyof typeof PAGES;
const ALL = Object.keys(PAGES) as Asked[];

const DEFAULT_TIMEOUT_MS = 2_000;
/** Who listens on every address is asked on loopback. */
const LOOPBACK: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "[::1]" };

interface HealthOptions {
  readonly ready?: boolean;
  readonly timeout: number;
}

const urlOf = (program: Asked, path: string, environment: Environment): string => {
  const [hostName, portName] = PAGES[program];
  // Only these two: the other variables are the program's own affair, and it has judged them.
  const config = readConfig([hostName, portName], { [hostName]: environment[hostName], [portName]: environment[portName] });
  const host = config[hostName];
  return `http://${LOOPBACK[host] ?? (host.includes(":") ? `[${host}]` : host)}:${config[portName]}${path}`;
};

/** @returns the status that the page answers; undefined if nobody answers in time */
const statusOf = async (url: string, withinMs: number): Promise<number | undefined> => {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(withinMs), headers: { connection: "close" } });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return undefined;
  }
};

/** A container has one of our programs and says nowhere which: who answers is who is there. */
const check = async (program: Asked | undefined, options: HealthOptions, environment: Environment): Promise<void> => {
  const path = options.ready ? "/readyz" : "/healthz";
  const asked = program === undefined ? ALL : [program];
  const answers = await Promise.all(
    asked.map(async (name) => ({ name, status: await statusOf(urlOf(name, path, environment), options.timeout) })),
  );
  const heard = answers.filter(({ status }) => status !== undefined);
  if (heard.length === 0) throw new Error(`nobody answers ${path}: ${asked.map((name) => urlOf(name, path, environment)).join(", ")}`);
  for (const { name, status } of heard) process.stdout.write(`${name} ${path} ${status}\n`);
  if (heard.some(({ status }) => status !== 200)) process.exitCode = 1;
};

export const healthcheckCommand = (environment: Environment): Command =>
  new Command("healthcheck")
    .description("asks the program that runs here for its health; exit 0 if it is well, 1 if it is not, or nobody answers")
    .addArgument(new Argument("[program]", "which, where several run; otherwise whoever answers").choices(ALL))
    .option("--ready", "asks whether it serves (/readyz), and not only whether it lives (/healthz)")
    .addOption(new Option("--timeout <ms>", "how long an answer may take").argParser(wholeNumber(1)).default(DEFAULT_TIMEOUT_MS))
    .action((program: Asked | undefined, options: HealthOptions) => check(program, options, environment));
