import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { defineConfig, type Plugin } from "rolldown";

/*
 * The package that `npm pack` makes: programs and doors, each with what only it needs, and what they share in chunks/. `npm run build:package`
 * runs it after tsc has written all declarations to lib/declared. A program has the path that it has in dist/.
 */
const OUT = "lib";
const DECLARED = `${OUT}/declared`;

const { bin, exports } = JSON.parse(readFileSync("package.json", "utf8")) as {
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string>>;
};
/** Without extension. */
const nameOf = (file: string): string => file.replace(`./${OUT}/`, "").replace(/\.js$/, "");
const doors = Object.values(exports).map(nameOf);
const programs = [...Object.values(bin).map(nameOf), "coordinator/main", "gateway/main", "workers/main", "workers/migrate"];
const threads = ["workers/audit/comparison-thread"];

const relativeTo = (from: string, to: string): string => {
  const path = posix.relative(posix.dirname(from), to);
  return path.startsWith(".") ? path : `./${path}`;
};

/** Modules find scripts, threads and programs from where they are themselves, so each goes on saying what it says without a bundle. */
const ownPlaces = (): Plugin => ({
  name: "own-places",
  transform: {
    filter: { code: "import.meta.url" },
    handler: (code, id) => {
      const place = posix.relative(process.cwd(), id).replace(/\.ts$/, ".js");
      return { code: code.replaceAll("import.meta.url", `OWN_PLACE(${JSON.stringify(place)})`), map: null };
    },
  },
  renderChunk: (code, { fileName }) =>
    code.replaceAll(
      /OWN_PLACE\("([^"]+)"\)/g,
      (_call, place: string) => `new URL(${JSON.stringify(relativeTo(fileName, place))}, import.meta.url).href`,
    ),
});

const SHARED: Readonly<Record<string, string>> = { "#lua": "lua", "#program": "coordinator/program", "#protocol": "coordinator/protocol" };

/** @returns the declaration that `specifier` names in `file`, without extension; undefined if it is another package's */
const declarationOf = (specifier: string, file: string): string | undefined => {
  if (specifier.startsWith(".")) return posix.join(posix.dirname(file), specifier).replace(/\.ts$/, "");
  const [shared = "", ...path] = specifier.split("/");
  const folder = SHARED[shared];
  return folder === undefined ? undefined : [folder, ...(path.length === 0 ? ["index"] : path)].join("/");
};

/** The declarations that the doors reach: for a bundle of them, TypeScript 7 has no API yet. */
const declarations = (): Map<string, string> => {
  const texts = new Map<string, string>();
  const visit = (file: string): void => {
    if (texts.has(file)) return;
    const reached: string[] = [];
    const text = readFileSync(`${DECLARED}/${file}.d.ts`, "utf8").replaceAll(
      /(from |import\()"([^"]+)"/g,
      (whole, before: string, specifier: string) => {
        const declaration = declarationOf(specifier, file);
        if (declaration === undefined) return whole;
        reached.push(declaration);
        return `${before}"${relativeTo(file, `${declaration}.js`)}"`;
      },
    );
    texts.set(file, text);
    for (const declaration of reached) visit(declaration);
  };
  for (const door of doors) visit(door);
  return texts;
};

const scripts = (): string[] =>
  readdirSync("lua", { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".lua") && !file.startsWith("snapshots"))
    .map((file) => `lua/${file}`);

const besides = (): Plugin => ({
  name: "besides",
  generateBundle() {
    for (const fileName of [...scripts(), "deploy/local/reaper.sh"])
      this.emitFile({ type: "asset", fileName, source: readFileSync(fileName, "utf8") });
    for (const [file, source] of declarations()) this.emitFile({ type: "asset", fileName: `${file}.d.ts`, source });
  },
});

export default defineConfig({
  input: Object.fromEntries([...doors, ...programs, ...threads].map((name) => [name, `${name}.ts`])),
  platform: "node",
  logLevel: "warn",
  external: (id) => !/^[./#]/.test(id),
  resolve: { conditionNames: ["source"] },
  plugins: [ownPlaces(), besides()],
  output: {
    dir: OUT,
    cleanDir: false,
    entryFileNames: "[name].js",
    chunkFileNames: "chunks/[name].js",
    keepNames: true,
  },
});
