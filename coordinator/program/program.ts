import cluster from "node:cluster";
import { HURRY } from "./cluster.ts";
import { ConfigError, readConfig, type Config } from "./config.ts";
import { crashPoints, type CrashPoints } from "./crash-points.ts";
import { KNOWN_VIOLATIONS, processViolations, type ProcessViolations } from "./violations.ts";
import { followSecret } from "./follow-secret.ts";
import { createLog, type Log } from "./log.ts";
import { secretFile } from "./secrets.ts";
import type { SettingName } from "./settings.ts";
import { systemClock } from "./system.ts";

const BASE = ["DOORBUSTER_RUN", "DOORBUSTER_LOG_LEVEL", "DOORBUSTER_EXIT_WITH_PARENT", "DOORBUSTER_CRASH_AT"] as const;
type Base = (typeof BASE)[number];

export interface Program<Name extends SettingName> {
  readonly config: Config<Name | Base>;
  readonly log: Log;
  /** aborted on SIGTERM, SIGINT, or when the starter is gone */
  readonly stop: AbortSignal;
  /** aborted on a further signal: who waits out of courtesy stops waiting. A process below a primary hears of it from there */
  readonly hurry: AbortSignal;
  /** around the ports where the program is put together */
  readonly points: CrashPoints;
  /** Calls back with each new value of a secret that comes from a file (NAME_FILE), until `stop`; never for one that does not. */
  readonly follow: <Secret extends Name>(name: Secret, changed: (value: Config<Name>[Secret]) => void) => void;
  /** for a process below a primary, once: what it does with invariant violations */
  readonly violations: () => ProcessViolations;
}

/** Conventional exit codes: 1 = configured wrongly, 70 = EX_SOFTWARE of sysexits.h, a crash or a violated invariant. */
const EXIT_CONFIG = 1;
const EXIT_CRASH = 70;

/** Stops when the pipe that the starter holds open ends: works even when the starter was killed with -9. */
const watchParent = (stop: () => void): void => {
  process.stdin.on("end", stop).on("error", stop).resume();
};

/**
 * Runs one of our programs: reads its configuration (exit 1 with every problem listed), stops it on a signal, and lets
 * a fault crash it: whoever supervises the process starts it again. A program that may find an invariant violated is a primary
 * (superviseCluster, guardProcess) with one process or more below it.
 */
export const runProgram = async <const Name extends SettingName>(
  name: string,
  names: readonly Name[],
  main: (program: Program<Name>) => Promise<void>,
): Promise<void> => {
  let config: Config<Name | Base>;
  try {
    // oxlint-disable-next-line node/no-process-env -- the one place where a program reads its environment
    config = readConfig([...BASE, ...names], process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${name}: ${error.message}\n`);
    process.exitCode = EXIT_CONFIG;
    return;
  }
  const log = createLog(name, config);
  // oxlint-disable-next-line unicorn/no-process-exit -- state is unknown: nothing may run on
  const end = (): never => process.exit(EXIT_CRASH);
  const crash = (error: unknown): void => {
    log.fatal({ err: error }, "unexpected error: this process ends");
    end();
  };
  // oxlint-disable-next-line node/no-process-env -- no setting: a primary tells its processes what it knows
  const violations = (): ProcessViolations => processViolations({ log, clock: systemClock, inherited: process.env[KNOWN_VIOLATIONS], end });
  const follow: Program<Name>["follow"] = (secret, changed) => {
    // oxlint-disable-next-line node/no-process-env -- the same environment, whose files have other contents now
    const environment = process.env;
    const file = secretFile(secret, environment);
    if (file === undefined) return;
    const read = () => readConfig([secret], environment)[secret];
    followSecret({ name: secret, file, current: config[secret], read, changed, log, stop: stopping.signal });
  };
  process.on("uncaughtException", crash).on("unhandledRejection", crash);
  const stopping = new AbortController();
  const hurrying = new AbortController();
  const stop = (): void => stopping.abort();
  const hurry = (): void => hurrying.abort();
  // A process below a primary gets the same signal twice where a whole group is told to stop: from there, and from the primary.
  const signalled = (): void => (stopping.signal.aborted && cluster.isPrimary ? hurry() : stop());
  process.on("SIGTERM", signalled).on("SIGINT", signalled);
  if (cluster.isWorker) process.on("message", (message) => void (message === HURRY && hurry()));
  if (config.DOORBUSTER_EXIT_WITH_PARENT && !process.connected) watchParent(stop);
  try {
    const signals = { stop: stopping.signal, hurry: hurrying.signal };
    await main({ config, log, ...signals, points: crashPoints(config.DOORBUSTER_CRASH_AT, log), follow, violations });
    // The pipe from the starter would keep a finished program alive.
    process.stdin.destroy();
  } catch (error) {
    crash(error);
  }
};
