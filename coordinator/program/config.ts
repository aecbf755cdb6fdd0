import { z } from "zod";
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

/** Secrets that appear in documentation and examples: fine on a laptop, refused in production. */
const KNOWN_SECRETS = /change-me|example|secret-secret/i;
const SECRETS: ReadonlySet<SettingName> = new Set([
  "DOORBUSTER_ADMIN_TOKEN",
  "DOORBUSTER_TICKET_KEYS",
  "DOORBUSTER_COORDINATOR_TOKEN",
  "NATS_PASSWORD",
]);
/** They make a program fail on purpose. */
const TESTS_ONLY: ReadonlySet<SettingName> = new Set(["DOORBUSTER_CRASH_AT"]);
/** `aaaaaaaaaaaaaaaa` has the length of a secret and is none. */
const DISTINCT_LEAST = 6;

/** @returns why a production must not run with this secret, or undefined */
const weakness = (value: string): string | undefined => {
  if (KNOWN_SECRETS.test(value)) return "an example's secret is refused in production";
  return new Set(value).size < DISTINCT_LEAST ? "a secret of so few different characters is refused in production" : undefined;
};

/** @returns what is wrong with variables that are right by themselves */
const together = ({ DOORBUSTER_ADDRESS_HEADER: header, DOORBUSTER_TRUSTED_PROXIES: proxies }: Partial<Config<SettingName>>): string[] => {
  const trusted = readTrustedProxies(proxies ?? "");
  return header !== undefined && header !== "" && typeof trusted !== "string" && trustsNobody(trusted)
    ? ["DOORBUSTER_ADDRESS_HEADER: is believed of trusted proxies only, and DOORBUSTER_TRUSTED_PROXIES names none"]
    : [];
};

/**
 * Reads the named variables.
 * @throws ConfigError that lists every missing, wrong and unknown variable together
 */
export const readConfig = <const Name extends SettingName>(
  names: readonly Name[],
  environment: Readonly<Record<string, string | undefined>>,
): Config<Name> => {
  const problems: string[] = [];
  for (const name of Object.keys(environment)) {
    if (name.startsWith("DOORBUSTER_") && !(name in settings)) problems.push(`${name}: unknown variable`);
  }
  const config: Partial<Record<SettingName, unknown>> = {};
  for (const name of names) {
    const value = environment[name] === "" ? undefined : environment[name];
    const result = settings[name].safeParse(value);
    if (result.success) config[name] = result.data;
    else for (const issue of result.error.issues) problems.push(`${name}: ${value === undefined ? "is required" : issue.message}`);
    if (environment["NODE_ENV"] !== "production" || value === undefined) continue;
    if (TESTS_ONLY.has(name)) problems.push(`${name}: is for tests, and refused in production`);
    if (!SECRETS.has(name)) continue;
    const weak = weakness(value);
    if (weak !== undefined) problems.push(`${name}: ${weak}`);
  }
  problems.push(...together(config as Partial<Config<SettingName>>));
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config) as Config<Name>;
};
