import { spawn } from "node:child_process";
import { access, constants, readFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { binariesIn, findStore, Store, STORE_NEEDS, type Binaries, type Searched } from "./binaries.ts";

/** What a missing server would take, in words for the one who starts us. */
export class MissingServers extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[], packages: readonly string[], why: string) {
    super(
      [
        "servers are missing:",
        ...problems.map((problem) => `  - ${problem}`),
        `They were not installed: ${why}.`,
        `On Debian or Ubuntu: sudo apt-get install ${packages.join(" ")}`,
        "Or use servers that run already: set REDIS_SHARDS, NATS_URL (NATS_USER, NATS_PASSWORD) and DATABASE_URL.",
      ].join("\n"),
    );
    this.name = "MissingServers";
    this.problems = problems;
  }
}

/**
 * As root: installs the packages named after the policy file in "$@". While it runs a policy-rc.d keeps Debian's packages from starting
 * their system services; it is removed again, unless it was there before. The trap holds if we die in the middle.
 */
const INSTALL_SCRIPT = `
policy=$1
shift
# One installation at a time: the first to end would take the policy file away from the others. The lock is on a file
# that is there anyway, so that none is left.
exec 9<"$(command -v apt-get)"
if command -v flock >/dev/null; then flock 9; fi
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\\nexit 101\\n' >"$policy" && chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=300 update
apt-get -q -y -o DPkg::Lock::Timeout=300 --no-install-recommends install "$@"
`;

/** Runs a command with its output on standard error; resolves with its exit code, 127 if it cannot be run. */
const exitCode = (command: string, args: readonly string[], path: string | undefined, quiet: boolean): Promise<number> =>
  new Promise((resolve) => {
    const child = spawn(command, args, {
      env: { PATH: path, LC_ALL: "C.UTF-8" },
      stdio: ["ignore", quiet ? "ignore" : 2, quiet ? "ignore" : 2],
    });
    child.once("error", () => resolve(127));
    child.once("exit", (code) => resolve(code ?? 1));
  });

const POLICY_FILE = "/usr/sbin/policy-rc.d";

const inPath = async (program: string, path: string | undefined): Promise<boolean> => {
  for (const folder of (path ?? "").split(delimiter)) {
    const found = await access(join(folder, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return true;
  }
  return false;
};

/** Whether apt may be used, and how; otherwise why not. */
const installer = async (path: string | undefined): Promise<{ command: string; args: readonly string[] } | { why: string }> => {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  if (!/^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release)) return { why: "this is neither Debian nor Ubuntu" };
  if (!(await inPath("apt-get", path))) return { why: "apt-get is not in the PATH" };
  if (userInfo().uid === 0) return { command: "/bin/sh", args: ["-c", INSTALL_SCRIPT, "install"] };
  if ((await exitCode("sudo", ["-n", "true"], path, true)) !== 0) return { why: "we are not root and have no sudo without a password" };
  return { command: "sudo", args: ["-n", "/bin/sh", "-c", INSTALL_SCRIPT, "install"] };
};

type Search =
  | { readonly folders: Readonly<Record<Store, string>> }
  | { readonly missing: readonly Store[]; readonly problems: readonly string[] };

const searchAll = async (stores: readonly Store[], searched: Searched): Promise<Search> => {
  const folders: Record<Store, string> = { redis: "", nats: "", postgres: "" };
  const missing: Store[] = [];
  const problems: string[] = [];
  for (const store of stores) {
    const found = await findStore(store, searched);
    if ("folder" in found) folders[store] = found.folder;
    else {
      missing.push(store);
      problems.push(found.problem);
    }
  }
  return missing.length === 0 ? { folders } : { missing, problems };
};

/** Installs packages with apt where that is possible, saying so. @returns why not, if it is not or has failed */
export const installPackages = async (
  packages: readonly string[],
  searched: Pick<Searched, "path" | "policyFile">,
  say: (line: string) => void,
): Promise<string | undefined> => {
  const how = await installer(searched.path);
  if ("why" in how) return how.why;
  say(`installing ${packages.join(" ")} with apt-get; their system services are not started`);
  const code = await exitCode(how.command, [...how.args, searched.policyFile ?? POLICY_FILE, ...packages], searched.path, false);
  return code === 0 ? undefined : `apt-get failed with exit code ${code}, see above`;
};

/**
 * Finds the programs of these servers and installs with apt what is missing, saying so.
 * @throws MissingServers if something is missing and cannot be installed, with what to install
 */
export const findOrInstall = async (stores: readonly Store[], searched: Searched, say: (line: string) => void): Promise<Binaries> => {
  const first = await searchAll(stores, searched);
  if ("folders" in first) return binariesIn(first.folders);
  const packages = first.missing.map((store) => STORE_NEEDS[store].debianPackage);
  for (const problem of first.problems) say(problem);
  const why = await installPackages(packages, searched, say);
  if (why !== undefined) throw new MissingServers(first.problems, packages, why);
  const second = await searchAll(stores, searched);
  if ("folders" in second) return binariesIn(second.folders);
  throw new MissingServers(second.problems, packages, "apt-get has installed what this system offers, and it is not enough");
};
