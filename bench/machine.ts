import { execFile } from "node:child_process";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { promisify } from "node:util";
import { findOrInstall, Store, type Environment } from "../deploy/local/index.ts";
import type { Results } from "./results.ts";

export const machine = (): Results["machine"] => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: cpus().length,
  memoryBytes: totalmem(),
  system: `${type()} ${release()}`,
  loadAtStart: loadavg()[0] ?? 0,
});

const versionOf = async (program: string, args: readonly string[]): Promise<string> => {
  const { stdout } = await promisify(execFile)(program, args).catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? "" }));
  return stdout.split("\n")[0]?.trim() ?? "";
};

/** What was measured with: as the programs themselves say it. */
export const versions = async (environment: Environment, wrk: string | undefined): Promise<Record<string, string>> => {
  const programs = await findOrInstall([Store.redis, Store.nats, Store.postgres], { path: environment["PATH"] }, () => undefined);
  return {
    node: process.version,
    redis: await versionOf(programs.redis, ["--version"]),
    nats: await versionOf(programs.nats, ["--version"]),
    postgres: await versionOf(programs.postgres, ["--version"]),
    go: (await versionOf("go", ["version"])) || "not installed",
    wrk: wrk ?? "not installed",
  };
};
