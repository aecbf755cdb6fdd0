import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const run = promisify(execFile);

interface Manifest {
  readonly private: boolean;
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
}
const manifest = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as Manifest;

/** A project that has nothing but what `npm install doorbuster` brings and, to check types, `@types/node`. */
let project = "";
let files: string[] = [];
const installed = (path: string): string => join(project, "node_modules/doorbuster", path);

const link = async (name: string): Promise<void> => {
  const path = join(project, "node_modules", name);
  await mkdir(dirname(path), { recursive: true });
  await symlink(join(ROOT, "node_modules", name), path);
};

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "doorbuster-package-"));
  await mkdir(installed(""), { recursive: true });
  await run("npm", ["pack", "--pack-destination", project], { cwd: ROOT });
  const tarball = (await readdir(project)).find((file) => file.endsWith(".tgz")) ?? "";
  await run("tar", ["-xzf", join(project, tarball), "--strip-components=1", "-C", installed("")]);
  await Promise.all([...Object.keys(manifest.dependencies), "@types/node"].map(link));
  await writeFile(join(project, "package.json"), JSON.stringify({ name: "shop", private: true, type: "module" }));
  const all = await readdir(installed(""), { recursive: true, withFileTypes: true });
  files = all.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(installed("/").length));
});

afterAll(() => rm(project, { recursive: true, force: true }));

it("has under 400 files, no test or bench among them, and is private", () => {
  expect(files).toEqual(expect.arrayContaining(["README.md", "LICENSE", "CHANGELOG.md", "package.json"]));
  expect(files.length).toBeLessThan(400);
  expect(files.filter((file) => /(^|\/)(test|bench)\/|\.test\.|\.map$|\.ts$(?<!\.d\.ts)/.test(file))).toEqual([]);
  expect(manifest.private).toBe(true);
});

it("has every script with its includes, and the reaper", async () => {
  const scripts = (await readdir(join(ROOT, "lua"), { recursive: true })).filter(
    (file) => file.endsWith(".lua") && !file.startsWith("snapshots"),
  );
  expect(scripts.length).toBeGreaterThan(30);
  expect(files).toEqual(expect.arrayContaining([...scripts.map((file) => `lib/lua/${file}`), "lib/deploy/local/reaper.sh"]));
});

it("exports as ESM what the sources export", async () => {
  const doors = Object.entries(manifest.exports).map(([door, file]) => ({
    specifier: door.replace(/^\./, "doorbuster"),
    source: join(ROOT, file.replace("./lib/", "").replace(/js$/, "ts")),
  }));
  expect(doors.length).toBeGreaterThan(3);
  const script = `
    const names = async (specifier) => Object.keys(await import(specifier)).sort();
    console.log(JSON.stringify(await Promise.all(process.argv.slice(1).map(names))));
    process.exit();`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script, ...doors.map((door) => door.specifier)], {
    cwd: project,
  });
  const sources = await Promise.all(doors.map(async ({ source }) => Object.keys((await import(source)) as object).toSorted()));
  expect(JSON.parse(stdout)).toEqual(sources);
});

it("resolves its types, and the README's example is right", async () => {
  const [example] = /(?<=^```ts\n)[\s\S]*?(?=^```$)/m.exec(await readFile(join(ROOT, "README.md"), "utf8")) ?? [];
  await writeFile(
    join(project, "gateway-world.ts"),
    `${example}
import { Coordinator } from "doorbuster/client";
import { reserveScript, type Script } from "doorbuster/lua";
import { OrderState } from "doorbuster/protocol";

// @ts-expect-error: a type that did not resolve would be any, and any is a number
export const notNumber: number = service;
export const script: Script = reserveScript;
export const coordinator: Coordinator | undefined = undefined;
// @ts-expect-error: a closed set has no such member
export const state: OrderState = "no such state";
`,
  );
  const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2023", "--types", "node"];
  const { stdout } = await run(join(ROOT, "node_modules/.bin/tsc"), [...options, "gateway-world.ts"], { cwd: project }).catch(
    (error: unknown) => error as { stdout: string },
  );
  expect(stdout).toBe("");
});

it("runs the command line, and every program as far as its configuration", async () => {
  const { stdout } = await run(process.execPath, [installed(manifest.bin["doorbuster"] ?? ""), "--help"], { cwd: project });
  for (const command of ["start", "demo", "tickets", "audit", "shards", "sale", "gateway", "coordinator", "workers", "migrate"])
    expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"));
  const programs = ["gateway/main", "coordinator/main", "workers/main", "workers/migrate"];
  const ends = await Promise.all(
    programs.map((program) =>
      run(process.execPath, [installed(`lib/${program}.js`)], { cwd: project, env: {} }).catch(
        (error: unknown) => error as { stderr: string },
      ),
    ),
  );
  for (const { stderr } of ends) expect(stderr).toMatch(/^\w+: the configuration has \d+ problems?:/);
});
