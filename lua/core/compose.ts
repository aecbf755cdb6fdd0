import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const DIRECTIVE = /^-- @include ([a-z]+(?:-[a-z]+)*)$/;
/** The names that an include gives: of one function, or of constants. */
const GIVEN = /^local (?:function )?(\w+)/gm;
const NEEDS = /^ {2}NEEDS +(.+)$/m;
const COMMENT = /--\[\[[\s\S]*?\]\]|--.*$/gm;

interface Include {
  readonly name: string;
  /** the line of the script that asks for it */
  readonly place: string;
  readonly text: string;
  /** names of what it defines */
  readonly given: readonly string[];
}

/** @returns undefined if there is no such include */
const readInclude = (folder: URL, name: string): { readonly file: URL; readonly text: string } | undefined => {
  const file = new URL(`${name}.lua`, folder);
  try {
    return { file, text: readFileSync(file, "utf8") };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
};

const placeOf = (file: URL, lineIndex: number): string => `${fileURLToPath(file)}:${lineIndex + 1}`;

const loadInclude = (folder: URL, name: string, place: string, before: readonly Include[]): Include => {
  const found = readInclude(folder, name);
  if (found === undefined) throw new Error(`${place}: there is no include ${name}`);
  if (before.some((include) => include.name === name)) throw new Error(`${place}: ${name} is included already`);
  const { file, text } = found;
  const nested = text.split("\n").findIndex((line) => line.includes("@include"));
  if (nested !== -1) throw new Error(`${placeOf(file, nested)}: an include includes nothing; it says what it NEEDS`);
  const given = Array.from(text.matchAll(GIVEN), ([, id]) => id as string);
  const hasFunction = /^local function /m.test(text);
  if (given.length === 0 || (hasFunction && given.length > 1))
    throw new Error(`${placeOf(file, 0)}: an include is one function, or constants`);
  for (const needed of NEEDS.exec(text)?.[1]?.split(", ") ?? [])
    if (!before.some((include) => include.name === needed)) throw new Error(`${place}: ${name} needs ${needed} included above it`);
  return { name, place, text: text.trimEnd(), given };
};

/**
 * A script's text with every line `-- @include name` replaced by the file of that name. One level: an include includes nothing.
 * @param file of the script. @param folder of the includes
 * @throws Error that names file and line: an include that is unknown, there twice, used by nothing, or without what it needs
 */
export const composeScript = (file: URL, folder: URL): string => {
  const includes: Include[] = [];
  const lines = readFileSync(file, "utf8")
    .split("\n")
    .map((line, i) => {
      if (!line.includes("@include")) return line;
      const name = DIRECTIVE.exec(line)?.[1];
      if (name === undefined) throw new Error(`${placeOf(file, i)}: not a line like "-- @include latch"`);
      const include = loadInclude(folder, name, placeOf(file, i), includes);
      includes.push(include);
      return include.text;
    });
  const composed = lines.join("\n");
  const code = composed.replace(COMMENT, "");
  for (const { name, place, given } of includes)
    if (given.every((id) => code.match(new RegExp(`\\b${id}\\b`, "g"))?.length === 1)) throw new Error(`${place}: nothing uses ${name}`);
  return composed;
};
