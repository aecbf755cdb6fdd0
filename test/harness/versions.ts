import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { ProgramName } from "../../deploy/local/index.ts";

const execute = promisify(execFile);
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What the programs need of the sources; tests, bench and deploy are left out, which halves the compiler's time. */
const SOURCES = ["lua", "coordinator", "gateway", "workers"];

/** Whether this clone has the commit: a shallow clone or a package from npm has not. */
export const hasCommit = (commit: string): Promise<boolean> =>
  execute("git", ["-C", ROOT, "cat-file", "-e", `${commit}^{commit}`]).then(
    () => true,
    () => false,
  );

/** What a program of the version before is started by: it refuses a variable that only a later version knows. */
const launcher = `
import { settings } from "../coordinator/program/settings.js";
for (const name of Object.keys(process.env)) if (name.startsWith("DOORBUSTER_") && !(name in settings)) delete process.env[name];
await import("./program.js");
`;

/**
 * Compiles the programs of a commit, with this clone's packages, below `folder`. Their environment may have the variables of
 * this version.
 * @returns the folder that stands for `dist`
 */
const buildPrograms = async (commit: string, folder: string): Promise<string> => {
  const archive = join(folder, "sources.tar");
  await mkdir(folder, { recursive: true });
  await execute("git", ["-C", ROOT, "archive", "--output", archive, commit, "package.json", "tsconfig.json", ...SOURCES]);
  await execute("tar", ["-xf", archive, "-C", folder]);
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const config = {
    extends: "./tsconfig.json",
    compilerOptions: { noEmit: false, rootDir: ".", outDir: "dist", noCheck: true },
    include: SOURCES,
    exclude: ["**/*.test.ts", "**/testing"],
  };
  await writeFile(join(folder, "tsconfig.programs.json"), JSON.stringify(config));
  await execute(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", join(folder, "tsconfig.programs.json")]);
  await cp(join(folder, "lua"), join(folder, "dist", "lua"), { recursive: true, filter: (path) => !path.endsWith(".ts") });
  for (const program of Object.values(ProgramName)) {
    const main = join(folder, "dist", program, "main.js");
    await rename(main, join(dirname(main), "program.js"));
    await writeFile(main, launcher);
  }
  return join(folder, "dist");
};

/** `before`: of the commit; `now`: of this clone. */
export const Version = { before: "before", now: "now" } as const;
export type Version = (typeof Version)[keyof typeof Version];

/**
 * A folder like `dist` in which each program is of one of two versions: a link to that version's, which Node follows to
 * the real files. Whoever starts programs from it gets the version of that moment.
 */
export class MixedPrograms {
  readonly #folder: string;
  readonly #dists: Readonly<Record<Version, string>>;

  private constructor(folder: string, dists: Readonly<Record<Version, string>>) {
    this.#folder = folder;
    this.#dists = dists;
  }

  /** All programs are of the version before. */
  static async build(commit: string): Promise<MixedPrograms> {
    const folder = await mkdtemp(join(tmpdir(), "versions-test-"));
    await mkdir(join(folder, "mixed"));
    const before = await buildPrograms(commit, join(folder, "before"));
    const mixed = new MixedPrograms(folder, { [Version.before]: before, [Version.now]: join(ROOT, "dist") });
    for (const program of Object.values(ProgramName)) await mixed.set(program, Version.before);
    return mixed;
  }

  /** stands for `dist` */
  get dist(): string {
    return join(this.#folder, "mixed");
  }

  /** the folder of one version's programs alone */
  of(version: Version): string {
    return this.#dists[version];
  }

  /** The program's next start is of this version. */
  async set(program: ProgramName, version: Version): Promise<void> {
    const next = join(this.#folder, "next");
    await symlink(join(this.#dists[version], program), next);
    await rename(next, join(this.dist, program));
  }

  remove(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true });
  }
}
