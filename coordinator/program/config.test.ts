import { describe, expect, it } from "vitest";
import { ConfigError, readConfig } from "./config.ts";

const problems = (environment: Record<string, string>, ...names: Parameters<typeof readConfig>[0]): readonly string[] => {
  try {
    readConfig(names, environment);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
};

describe("readConfig", () => {
  it("lists everything that is missing, wrong and unknown together", () => {
    const found = problems(
      { NATS_URL: "", DOORBUSTER_GATEWAY_PORT: "70000", DOORBUSTER_TICKET_KEYS: "k:short", DOORBUSTER_PROT: "1", PATH: "/bin" },
      "NATS_URL",
      "DOORBUSTER_GATEWAY_PORT",
      "DOORBUSTER_TICKET_KEYS",
      "DOORBUSTER_ADMIN_TOKEN",
    );
    expect(found.map((problem) => problem.split(":")[0] ?? "").toSorted()).toEqual([
      "DOORBUSTER_ADMIN_TOKEN",
      "DOORBUSTER_GATEWAY_PORT",
      "DOORBUSTER_PROT",
      "DOORBUSTER_TICKET_KEYS",
      "NATS_URL",
    ]);
  });

  it("gives defaults, and a frozen result", () => {
    const config = readConfig(["DOORBUSTER_GATEWAY_PORT", "DOORBUSTER_TICKET_KEYS"], {
      DOORBUSTER_TICKET_KEYS: "new:sixteen characters,old:sixteen:and:colons",
    });
    expect(config).toEqual({
      DOORBUSTER_GATEWAY_PORT: 8_080,
      DOORBUSTER_TICKET_KEYS: [
        { id: "new", secret: "sixteen characters" },
        { id: "old", secret: "sixteen:and:colons" },
      ],
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it("refuses a ticket key's id that is given twice", () => {
    expect(problems({ DOORBUSTER_TICKET_KEYS: "k:sixteen characters,k:others of sixteen" }, "DOORBUSTER_TICKET_KEYS")).toEqual([
      "DOORBUSTER_TICKET_KEYS: a key id is given twice",
    ]);
  });

  it("refuses the examples' and other worthless secrets in production, and only there", () => {
    const environment = {
      DOORBUSTER_ADMIN_TOKEN: "change-me-please-admin-token",
      DOORBUSTER_TICKET_KEYS: "k1:aaaaaaaaaaaaaaaaaaaa",
      NATS_PASSWORD: "change-me",
    };
    const names = ["DOORBUSTER_ADMIN_TOKEN", "DOORBUSTER_TICKET_KEYS", "NATS_PASSWORD"] as const;
    expect(problems(environment, ...names)).toEqual([]);
    expect(problems({ ...environment, NODE_ENV: "production" }, ...names)).toHaveLength(3);
    const good = {
      DOORBUSTER_ADMIN_TOKEN: "b8Jq1-fresh-and-random",
      DOORBUSTER_TICKET_KEYS: "k1:b8Jq1-fresh-and-random",
      NATS_PASSWORD: "b8Jq1-x",
    };
    expect(problems({ ...good, NODE_ENV: "production" }, ...names)).toEqual([]);
  });
});

describe("DOORBUSTER_CRASH_AT", () => {
  const at = (value: string): unknown => readConfig(["DOORBUSTER_CRASH_AT"], { DOORBUSTER_CRASH_AT: value }).DOORBUSTER_CRASH_AT;

  it("names a point, a pass and whether to die, to stop or to fail", () => {
    expect(at("log.append:after")).toEqual({ point: "log.append:after", pass: 1, act: "kill" });
    expect(at("sale.open.handle:before:12:pause")).toEqual({ point: "sale.open.handle:before", pass: 12, act: "pause" });
    expect(at("log.append:after:2:step")).toEqual({ point: "log.append:after", pass: 2, act: "step" });
    expect(at("log.append:after:3:throw")).toEqual({ point: "log.append:after", pass: 3, act: "throw" });
    expect(at("")).toBeUndefined();
    for (const wrong of ["log.append", "append:after", "log.append:after:0", "log.append:after:kill", "log.append:during"])
      expect(problems({ DOORBUSTER_CRASH_AT: wrong }, "DOORBUSTER_CRASH_AT"), wrong).toHaveLength(1);
  });

  it("is refused in production", () => {
    const environment = { DOORBUSTER_CRASH_AT: "log.append:after", NODE_ENV: "production" };
    expect(problems(environment, "DOORBUSTER_CRASH_AT")).toEqual(["DOORBUSTER_CRASH_AT: is for tests, and refused in production"]);
    expect(problems({ ...environment, DOORBUSTER_CRASH_AT: "" }, "DOORBUSTER_CRASH_AT")).toEqual([]);
  });
});
