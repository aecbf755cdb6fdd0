import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, describe, expect, it } from "vitest";
import { isAccepted } from "./bearer-tokens.ts";
import { ConfigError, readConfig } from "./config.ts";
import { followSecret } from "./follow-secret.ts";
import { SECRETS, withSecrets } from "./secrets.ts";

const dir = mkdtempSync(join(tmpdir(), "doorbuster-secrets-"));
afterAll(() => rmSync(dir, { recursive: true }));
const file = (name: string, text: string): string => {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
};
const problems = (environment: Record<string, string>, ...names: Parameters<typeof readConfig>[0]): readonly string[] => {
  try {
    readConfig(names, environment);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
};
const TOKEN = "b8Jq1-fresh-and-random";

describe("NAME_FILE", () => {
  it("gives the value of every secret, without the last line feed", () => {
    const values = {
      REDIS_SHARDS: "redis://gateway:x@127.0.0.1:1",
      NATS_PASSWORD: "p w",
      DATABASE_URL: "postgres://u:p@h/d",
      DOORBUSTER_ADMIN_TOKEN: TOKEN,
      DOORBUSTER_TICKET_KEYS: `k1:${TOKEN}`,
      DOORBUSTER_COORDINATOR_TOKEN: TOKEN,
    } as const;
    expect(new Set(Object.keys(values))).toEqual(SECRETS);
    const names = Object.keys(values) as (keyof typeof values)[];
    const files = Object.fromEntries(Object.entries(values).map(([name, value]) => [`${name}_FILE`, file(name, `${value}\n`)]));
    expect(readConfig(names, files)).toEqual(readConfig(names, values));
    expect(withSecrets({ ...files, PATH: "/bin" })).toMatchObject({ ...values, PATH: "/bin" });
  });

  it("beside NAME, without such a file, with an empty one, or for what is no secret, is an error", () => {
    const path = file("token", TOKEN);
    expect(problems({ DOORBUSTER_ADMIN_TOKEN: TOKEN, DOORBUSTER_ADMIN_TOKEN_FILE: path }, "DOORBUSTER_ADMIN_TOKEN")).toEqual([
      "DOORBUSTER_ADMIN_TOKEN: is set, and so is DOORBUSTER_ADMIN_TOKEN_FILE: one of them is meant",
    ]);
    expect(problems({ DATABASE_URL_FILE: join(dir, "none") }, "DATABASE_URL")).toEqual([expect.stringMatching(/^DATABASE_URL: .*ENOENT/)]);
    expect(problems({ NATS_PASSWORD_FILE: file("empty", "\n") }, "NATS_PASSWORD")).toEqual([
      expect.stringMatching(/^NATS_PASSWORD: .*is empty/),
    ]);
    expect(problems({ DOORBUSTER_GATEWAY_PORT_FILE: path }, "DOORBUSTER_GATEWAY_PORT")).toEqual([
      "DOORBUSTER_GATEWAY_PORT_FILE: unknown variable",
    ]);
  });

  it("of another program's secret is not read", () => {
    expect(problems({ DATABASE_URL_FILE: join(dir, "none") }, "DOORBUSTER_GATEWAY_PORT")).toEqual([]);
  });
});

describe("a production", () => {
  it.each([
    ["DATABASE_URL", "postgres://doorbuster:change-me@h/d"],
    ["DATABASE_URL", "postgres://doorbuster:postgres@h/d"],
    ["DATABASE_URL", "postgres://h/d?user=u&password=doorbuster"],
    ["REDIS_SHARDS", "redis://h:1,redis://gateway:ch%61nge-me@h:2"],
    ["REDIS_SHARDS", "rediss-cluster://gateway:aaaaaaaaaaaa@h:1;i:2*8"],
    ["REDIS_SHARDS", "redis-sentinel://gateway:Fresh-1-b8Jq@h:1/m?sentinelPassword=admin"],
    ["NATS_PASSWORD", "nats"],
    ["DOORBUSTER_ADMIN_TOKEN", `${TOKEN} change-me-please-admin-token`],
    ["DOORBUSTER_COORDINATOR_TOKEN", "example-example-example"],
    ["DOORBUSTER_TICKET_KEYS", `k2:${TOKEN},k1:change-me-please-ticket-secret`],
  ] as const)("refuses %s=%s, from a file, too", (name, value) => {
    expect(problems({ [name]: value }, name)).toEqual([]);
    for (const environment of [{ [name]: value }, { [`${name}_FILE`]: file("weak", value) }])
      expect(problems({ ...environment, NODE_ENV: "production" }, name)).toEqual([
        expect.stringMatching(`^${name}: .*refused in production$`),
      ]);
  });

  it("takes good ones, whatever the host is called", () => {
    const NODE_ENV = "production";
    expect(problems({ NODE_ENV, DATABASE_URL: "postgres://doorbuster:b8Jq1-x@db.example.com/doorbuster" }, "DATABASE_URL")).toEqual([]);
    expect(problems({ NODE_ENV, REDIS_SHARDS: "rediss://gateway:b8Jq1-x@redis.example.com:6379*4" }, "REDIS_SHARDS")).toEqual([]);
  });
});

describe("files of certificates", () => {
  it("must be there, and a certificate with its key", () => {
    expect(problems({ REDIS_CA_FILE: join(dir, "none") }, "REDIS_CA_FILE")).toEqual([
      expect.stringMatching(/^REDIS_CA_FILE: cannot be read/),
    ]);
    const pem = file("cert.pem", "PEM");
    expect(problems({ NATS_CERT_FILE: pem }, "NATS_CERT_FILE", "NATS_KEY_FILE")).toEqual([
      expect.stringMatching(/^NATS_CERT_FILE: .*NATS_KEY_FILE/),
    ]);
    expect(problems({ REDIS_CERT_FILE: pem, REDIS_KEY_FILE: pem }, "REDIS_CERT_FILE", "REDIS_KEY_FILE")).toEqual([]);
  });
});

describe("a secret's file that changes", () => {
  it("gives its new value; one that is not valid changes nothing", async () => {
    const path = file("followed", `k1:${TOKEN}`);
    const lines: string[] = [];
    const stop = new AbortController();
    let next: (value: unknown) => void = () => undefined;
    const read = () => readConfig(["DOORBUSTER_TICKET_KEYS"], { DOORBUSTER_TICKET_KEYS_FILE: path }).DOORBUSTER_TICKET_KEYS;
    const log = pino({}, { write: (line: string) => void lines.push(line) });
    const refused = new Promise<void>((resolve) => {
      log.warn = () => resolve();
    });
    followSecret({
      name: "DOORBUSTER_TICKET_KEYS",
      file: path,
      current: read(),
      read,
      changed: (value) => next(value),
      log,
      stop: stop.signal,
    });
    try {
      let early: unknown;
      next = (value) => (early = value);
      writeFileSync(path, "nonsense");
      await refused;
      expect(early).toBeUndefined();
      const changed = new Promise((resolve) => (next = resolve));
      writeFileSync(path, `k2:another-${TOKEN},k1:${TOKEN}`);
      expect(await changed).toEqual([
        { id: "k2", secret: `another-${TOKEN}` },
        { id: "k1", secret: TOKEN },
      ]);
      expect(lines.join("")).not.toContain(TOKEN);
    } finally {
      stop.abort();
    }
  });
});

describe("isAccepted", () => {
  it("takes each of the tokens, and no other", () => {
    expect(isAccepted("a", ["a", "b"])).toBe(true);
    expect(isAccepted("b", ["a", "b"])).toBe(true);
    for (const wrong of ["", "c", "ab", "a "]) expect(isAccepted(wrong, ["a", "b"])).toBe(false);
    expect(isAccepted("", [])).toBe(false);
  });
});
