import { execFile } from "node:child_process";
import { access, constants, readdir } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Programs of the three servers, by absolute path. */
export interface Binaries {
  readonly redis: string;
  readonly nats: string;
  readonly postgres: string;
  readonly initdb: string;
}

export const Store = { redis: "redis", nats: "nats", postgres: "postgres" } as const;
export type Store = (typeof Store)[keyof typeof Store];

export interface StoreNeeds {
  /** files that must lie in one folder */
  readonly programs: readonly [string, ...string[]];
  /** Debian's package */
  readonly debianPackage: string;
  readonly atLeast: readonly [major: number, minor: number];
  /** why not an older one */
  readonly because: string;
}

export const STORE_NEEDS: Readonly<Record<Store, StoreNeeds>> = {
  redis: { programs: ["redis-server"], debianPackage: "redis-server", atLeast: [7, 0], because: "script flags (#!lua)" },
  nats: { programs: ["nats-server"], debianPackage: "nats-server", atLeast: [2, 9], because: "JetStream key-value buckets" },
  postgres: { programs: ["postgres", "initdb"], debianPackage: "postgresql", atLeast: [13, 0], because: "hash-partitioned tables" },
};

export interface Searched {
  readonly path: string | undefined;
  /** where Debian keeps Postgres's versions, each with a `bin` folder */
  readonly postgresRoot?: string;
  /** Debian puts nats-server here, which only root has in the PATH */
  readonly systemFolder?: string;
  /** keeps Debian's packages from starting services while we install; made and removed by us unless it is there */
  readonly policyFile?: string;
}

const POSTGRES_ROOT = "/usr/lib/postgresql";
const SYSTEM_FOLDER = "/usr/sbin";

/** Folders to look in: PATH first, then Debian's Postgres versions (not in the PATH there), newest first. */
const folders = async (searched: Searched): Promise<readonly string[]> => {
  const root = searched.postgresRoot ?? POSTGRES_ROOT;
  const versions = (await readdir(root).catch(() => [])).filter((name) => Number(name) > 0).sort((a, b) => Number(b) - Number(a));
  return [
    ...(searched.path ?? "").split(delimiter).filter((folder) => folder !== ""),
    ...versions.map((version) => join(root, version, "bin")),
    searched.systemFolder ?? SYSTEM_FOLDER,
  ];
};

const isProgram = (file: string): Promise<boolean> =>
  access(file, constants.X_OK).then(
    () => true,
    () => false,
  );

/** `major.minor` that the program prints about itself, or why it does not run. */
const versionOf = async (file: string): Promise<readonly [number, number] | undefined> => {
  const { stdout, stderr } = await run(file, ["--version"], { timeout: 10_000 });
  const match = /v?=?(\d+)\.(\d+)/.exec(stdout + stderr);
  return match === null ? undefined : [Number(match[1]), Number(match[2])];
};

/** What was found of one server: the folder, or in words what is wrong. */
export type Found = { readonly folder: string } | { readonly problem: string };

/** Looks for one server's programs and checks that they run and are new enough. */
export const findStore = async (store: Store, searched: Searched): Promise<Found> => {
  const { programs, atLeast, because } = STORE_NEEDS[store];
  const problems: string[] = [];
  for (const folder of await folders(searched)) {
    const files = programs.map((program) => join(folder, program));
    if (!(await Promise.all(files.map(isProgram))).every(Boolean)) continue;
    try {
      const version = await versionOf(files[0] ?? "");
      if (version !== undefined && (version[0] > atLeast[0] || (version[0] === atLeast[0] && version[1] >= atLeast[1]))) return { folder };
      problems.push(`${files[0]} is version ${version?.join(".") ?? "unknown"}, at least ${atLeast.join(".")} is needed (${because})`);
    } catch (error) {
      problems.push(`${files[0]} does not run: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  return { problem: problems[0] ?? `${programs.join(" and ")}: not found` };
};

/** Paths of the programs in the found folders. */
export const binariesIn = (found: Readonly<Record<Store, string>>): Binaries => ({
  redis: join(found.redis, "redis-server"),
  nats: join(found.nats, "nats-server"),
  postgres: join(found.postgres, "postgres"),
  initdb: join(found.postgres, "initdb"),
});
