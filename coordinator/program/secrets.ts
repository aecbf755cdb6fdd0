import { readFileSync } from "node:fs";
import type { SettingName } from "./settings.ts";

/** Variables that hold a secret: NAME_FILE names a file with the value of NAME instead. */
export const SECRETS: ReadonlySet<SettingName> = new Set([
  "REDIS_SHARDS",
  "NATS_PASSWORD",
  "DATABASE_URL",
  "DOORBUSTER_ADMIN_TOKEN",
  "DOORBUSTER_TICKET_KEYS",
  "DOORBUSTER_COORDINATOR_TOKEN",
]);

export type Environment = Readonly<Record<string, string | undefined>>;

/** An empty variable is one that is not set. */
const given = (environment: Environment, name: string): string | undefined => (environment[name] === "" ? undefined : environment[name]);

/** @returns the name of the file that holds the value of this variable, if it is to be read from one */
export const secretFile = (name: SettingName, environment: Environment): string | undefined =>
  SECRETS.has(name) ? given(environment, `${name}_FILE`) : undefined;

/** Without the line feed that editors and `echo` put behind it. @throws if the file cannot be read, or is empty */
export const readSecretFile = (file: string): string => {
  const text = readFileSync(file, "utf8").replace(/\r?\n$/, "");
  if (text === "") throw new Error(`${file} is empty`);
  return text;
};

/** @returns the variable's value, from its file if one is named. @throws with a readable text, never with the value */
export const valueOf = (name: SettingName, environment: Environment): string | undefined => {
  const value = given(environment, name);
  const file = secretFile(name, environment);
  if (file === undefined) return value;
  if (value !== undefined) throw new Error(`is set, and so is ${name}_FILE: one of them is meant`);
  try {
    return readSecretFile(file);
  } catch (error) {
    throw new Error(`its file cannot be used: ${(error as Error).message}`, { cause: error });
  }
};

/** The environment as if all secrets had been given in it, for who hands them on. @throws Error that names the variable */
export const withSecrets = (environment: Environment): Record<string, string | undefined> => {
  const whole: Record<string, string | undefined> = { ...environment };
  for (const name of SECRETS) {
    if (secretFile(name, environment) === undefined) continue;
    try {
      whole[name] = valueOf(name, environment);
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
    }
    whole[`${name}_FILE`] = undefined;
  }
  return whole;
};

/** Also what stands in front of our own: example pages and images ship with these. */
const KNOWN = /change-me|example|secret-secret/i;
const KNOWN_WHOLE = /^(?:admin|changeme|default|doorbuster|guest|nats|passw(?:or)?d|postgres|redis|root|s3cret|secret|test)\d*$/i;
/** `aaaaaaaaaaaaaaaa` has the length of a secret and is none. */
const DISTINCT_LEAST = 6;

const weakness = (secret: string): string | undefined => {
  if (KNOWN.test(secret) || KNOWN_WHOLE.test(secret)) return "an example's secret is refused in production";
  return new Set(secret).size < DISTINCT_LEAST ? "a secret of so few different characters is refused in production" : undefined;
};

/** `scheme://user:password@...`, and passwords among a URL's parameters (`sentinelPassword`, `password`). */
const URL_PASSWORD = /:\/\/[^:@/]*:([^@/]+)@/g;
const PARAMETER = /[?&][a-z]*password=([^&,]+)/gi;

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

/** The secrets within a value: the passwords of URLs, the keys of a list, or all of it. */
const secretsIn = (name: SettingName, value: string): readonly string[] => {
  if (name === "REDIS_SHARDS" || name === "DATABASE_URL")
    return [...value.matchAll(URL_PASSWORD), ...value.matchAll(PARAMETER)].map(([, password = ""]) => decoded(password));
  if (name === "DOORBUSTER_TICKET_KEYS") return value.split(",").map((pair) => pair.slice(pair.indexOf(":") + 1));
  return name === "NATS_PASSWORD" ? [value] : value.split(/\s+/).filter((token) => token !== "");
};

/** @returns why a production must not run with what this variable holds, or undefined */
export const weaknessOf = (name: SettingName, value: string): string | undefined => {
  if (!SECRETS.has(name)) return undefined;
  for (const secret of secretsIn(name, value)) {
    const weak = weakness(secret);
    if (weak !== undefined) return weak;
  }
  return undefined;
};
