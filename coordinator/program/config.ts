import { z } from "zod";
import { SECRETS, valueOf, weaknessOf, type Environment } from "./secrets.ts";
import { settings, type SettingName, type Settings } from "./settings.ts";
import { readTrustedProxies, trustsNobody } from "./trusted-proxies.ts";

export type Config<Name extends SettingName> = { readonly [Key in Name]: z.output<Settings[Key]> };

/** Everything that is wrong with an environment, one readable line each. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `the configuration has ${problems.length} problem${problems.length === 1 ? "" : "s"}:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`,
    );
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** They make a program fail on purpose. */
const TESTS_ONLY: ReadonlySet<SettingName> = new Set(["DOORBUSTER_CRASH_AT"]);
/** @returns what is wrong with variables that are right by themselves */
const together = (config: Partial<Config<SettingName>>): string[] => {
  const { DOORBUSTER_ADDRESS_HEADER: header, DOORBUSTER_TRUSTED_PROXIES: proxies } = config;
  const problems: string[] = [];
  const trusted = readTrustedProxies(proxies ?? "");
  if (header !== undefined && header !== "" && typeof trusted !== "string" && trustsNobody(trusted))
    problems.push("DOORBUSTER_ADDRESS_HEADER: is believed of trusted proxies only, and DOORBUSTER_TRUSTED_PROXIES names none");
  for (const store of ["REDIS", "NATS"] as const)
    if ((config[`${store}_CERT_FILE`] === undefined) !== (config[`${store}_KEY_FILE`] === undefined))
      problems.push(`${store}_CERT_FILE: a certificate and its key (${store}_KEY_FILE) are given together`);
  if (config.NATS_CREDS_FILE !== undefined && config.NATS_NKEY_SEED_FILE !== undefined)
    problems.push("NATS_CREDS_FILE: holds a seed, and so does NATS_NKEY_SEED_FILE: one of them is meant");
  return problems;
};

const isKnown = (name: string): boolean =>
  name in settings || (name.endsWith("_FILE") && SECRETS.has(name.slice(0, -"_FILE".length) as SettingName));

/** @returns the variable's value, or undefined after telling what is wrong with it */
const readSetting = (name: SettingName, environment: Environment, problems: string[]): unknown => {
  let value: string | undefined;
  try {
    value = valueOf(name, environment);
  } catch (error) {
    problems.push(`${name}: ${(error as Error).message}`);
    return undefined;
  }
  const result = settings[name].safeParse(value);
  if (!result.success)
    for (const issue of result.error.issues) problems.push(`${name}: ${value === undefined ? "is required" : issue.message}`);
  if (environment["NODE_ENV"] === "production" && value !== undefined) {
    if (TESTS_ONLY.has(name)) problems.push(`${name}: is for tests, and refused in production`);
    const weak = weaknessOf(name, value);
    if (weak !== undefined) problems.push(`${name}: ${weak}`);
  }
  return result.data;
};

/**
 * Reads the named variables, a secret from its file where NAME_FILE names one.
 * @throws ConfigError that lists every missing, wrong and unknown variable together
 */
export const readConfig = <const Name extends SettingName>(names: readonly Name[], environment: Environment): Config<Name> => {
  const problems: string[] = [];
  for (const name of Object.keys(environment)) {
    if (name.startsWith("DOORBUSTER_") && !isKnown(name)) problems.push(`${name}: unknown variable`);
  }
  const config: Partial<Record<SettingName, unknown>> = {};
  for (const name of names) config[name] = readSetting(name, environment, problems);
  problems.push(...together(config as Partial<Config<SettingName>>));
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config) as Config<Name>;
};
