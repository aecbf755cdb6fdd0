import { access, chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findOrInstall, findStore, MissingServers, Store, until, type Searched } from "./index.ts";

let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), "install-test-"));
});
afterEach(() => rm(work, { recursive: true, force: true }));

/** A folder of small shell scripts. */
const programs = async (folder: string, scripts: Readonly<Record<string, string>>): Promise<string> => {
  const path = join(work, folder);
  await mkdir(path, { recursive: true });
  for (const [name, script] of Object.entries(scripts)) {
    await writeFile(join(path, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(path, name), 0o755);
  }
  return path;
};

/** Searches only below the test's own folder. */
const only = (path: string): Searched => ({
  path,
  postgresRoot: join(work, "postgresql"),
  systemFolder: join(work, "sbin"),
  policyFile: join(work, "policy-rc.d"),
});

describe("finding servers", () => {
  it("takes the first folder of the PATH with a program that is new enough", async () => {
    const old = await programs("old", { "redis-server": "echo Redis server v=6.0.16 sha=0" });
    const good = await programs("good", { "redis-server": "echo Redis server v=7.0.15 sha=0" });
    expect(await findStore(Store.redis, only(`${old}:${good}`))).toEqual({ folder: good });
  });

  it("says that a program is too old, and why that matters", async () => {
    const old = await programs("old", { "redis-server": "echo Redis server v=6.0.16 sha=0" });
    expect(await findStore(Store.redis, only(old))).toEqual({
      problem: `${old}/redis-server is version 6.0, at least 7.0 is needed (script flags (#!lua))`,
    });
  });

  it("says that a program does not run", async () => {
    const broken = await programs("broken", { "nats-server": "exit 1" });
    const found = await findStore(Store.nats, only(broken));
    expect("problem" in found && found.problem).toMatch(`${broken}/nats-server does not run`);
  });

  it("takes the newest of Debian's Postgres versions, and none without initdb", async () => {
    const wrapper = await programs("bin", { postgres: "echo postgres 15.1" });
    await programs("postgresql/9/bin", { postgres: "echo postgres 9.6", initdb: "" });
    const newer = await programs("postgresql/15/bin", { postgres: "echo 'postgres (PostgreSQL) 15.18 (Debian)'", initdb: "" });
    await programs("postgresql/16/bin", { postgres: "echo postgres 16.1" });
    expect(await findStore(Store.postgres, only(wrapper))).toEqual({ folder: newer });
  });

  it("looks where Debian puts nats-server, which is not in a user's PATH", async () => {
    const system = await programs("sbin", { "nats-server": "echo nats-server: v2.9.10" });
    expect(await findStore(Store.nats, only(""))).toEqual({ folder: system });
  });
});

describe("installing servers", () => {
  const exists = (path: string): Promise<boolean> =>
    access(path).then(
      () => true,
      () => false,
    );

  /** An apt-get that notes its arguments and whether the policy file was there, and installs a Redis. */
  const fakeApt = async (installs: boolean): Promise<string> => {
    const bin = await programs("bin", {
      "apt-get": `echo "$@" >>${work}/apt
[ -x ${work}/policy-rc.d ] && echo guarded >>${work}/apt
case "$*" in *install*) ${installs ? `printf '#!/bin/sh\\necho Redis server v=7.0.15\\n' >${work}/bin/redis-server; chmod 755 ${work}/bin/redis-server` : "exit 100"};; esac`,
      // For whoever runs this test without being root.
      sudo: 'shift; exec "$@"',
    });
    for (const tool of ["chmod", "rm", "flock", "sleep"]) await symlink(`/usr/bin/${tool}`, join(bin, tool));
    return bin;
  };

  it("asks apt-get once for what is missing, keeps services from starting, and says so", async () => {
    const bin = await fakeApt(true);
    const said: string[] = [];
    const found = await findOrInstall([Store.redis], only(bin), (line) => said.push(line));
    expect(found.redis).toBe(join(bin, "redis-server"));
    const calls = (await readFile(join(work, "apt"), "utf8")).trim().split("\n");
    expect(calls).toHaveLength(4);
    expect(calls[0]).toMatch(/update$/);
    expect(calls[2]).toMatch(/--no-install-recommends install redis-server$/);
    expect(calls[3]).toBe("guarded");
    expect(await exists(join(work, "policy-rc.d"))).toBe(false);
    expect(said).toEqual(["redis-server: not found", "installing redis-server with apt-get; their system services are not started"]);
  });

  it("lets one installation wait for another, so that none loses its policy file", async () => {
    const bin = await fakeApt(true);
    await writeFile(join(bin, "apt-get"), (await readFile(join(bin, "apt-get"), "utf8")).replace("\n", "\nsleep 0.3\n"));
    const first = findOrInstall([Store.redis], only(bin), () => undefined);
    // The second finds the first's policy file, and would lose it in the middle.
    await until(() => exists(join(work, "apt")), "the first to have begun");
    await Promise.all([first, findOrInstall([Store.redis], only(bin), () => undefined)]);
    const calls = (await readFile(join(work, "apt"), "utf8")).trim().split("\n");
    expect(calls.filter((call) => call === "guarded")).toHaveLength(calls.length / 2);
    expect(await exists(join(work, "policy-rc.d"))).toBe(false);
  });

  it("leaves a policy file that was there", async () => {
    const bin = await fakeApt(true);
    await writeFile(join(work, "policy-rc.d"), "#!/bin/sh\nexit 101\n");
    await findOrInstall([Store.redis], only(bin), () => undefined);
    expect(await exists(join(work, "policy-rc.d"))).toBe(true);
  });

  it("says what to install when apt-get fails", async () => {
    const bin = await fakeApt(false);
    await expect(findOrInstall([Store.redis, Store.nats], only(bin), () => undefined)).rejects.toThrow(
      /redis-server: not found\n {2}- nats-server: not found\nThey were not installed: apt-get failed with exit code 100.*\nOn Debian or Ubuntu: sudo apt-get install redis-server nats-server\n/,
    );
    expect(await exists(join(work, "policy-rc.d"))).toBe(false);
  });

  it("says what to install where there is no apt-get", async () => {
    const failure = await findOrInstall(Object.values(Store), only(join(work, "empty")), () => undefined).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(MissingServers);
    expect((failure as Error).message).toBe(
      [
        "servers are missing:",
        "  - redis-server: not found",
        "  - nats-server: not found",
        "  - postgres and initdb: not found",
        "They were not installed: apt-get is not in the PATH.",
        "On Debian or Ubuntu: sudo apt-get install redis-server nats-server postgresql",
        "Or use servers that run already: set REDIS_SHARDS, NATS_URL (NATS_USER, NATS_PASSWORD) and DATABASE_URL.",
      ].join("\n"),
    );
  });
});
