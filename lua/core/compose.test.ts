import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { composeScript } from "./compose.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "compose-"));
  mkdirSync(join(folder, "include"));
  const includes = {
    one: "--[[\n  Gives 1.\n]]\nlocal function one()\n  return 1\nend\n",
    two: "--[[\n  Gives 2.\n\n  KEYS    none\n  NEEDS   one\n]]\nlocal function two() return one() + one() end\n",
    codes: "local WON = 'w'\nlocal LOST = 'l'\n",
    self: "-- @include self\nlocal function self() return 1 end\n",
    deep: "local function deep() return 1 end\n-- @include one\n",
    pair: "local function a() return 1 end\nlocal function b() return 1 end\n",
    none: "-- nothing\n",
  };
  for (const [name, text] of Object.entries(includes)) writeFileSync(join(folder, "include", `${name}.lua`), text);
});
afterAll(() => rmSync(folder, { recursive: true }));

const HEADER = "#!lua flags=no-writes\n--[[\n  Says one, two, WON.\n]]\n";
const compose = (body: string): string => {
  const file = join(folder, "script.lua");
  writeFileSync(file, HEADER + body);
  return composeScript(pathToFileURL(file), pathToFileURL(join(folder, "include/")));
};

it("puts each include's text where its line is, and leaves the first line and the header first", () => {
  const one = "--[[\n  Gives 1.\n]]\nlocal function one()\n  return 1\nend";
  expect(compose("-- @include one\nreturn one()\n")).toBe(`${HEADER}${one}\nreturn one()\n`);
  expect(compose("return 1\n")).toBe(`${HEADER}return 1\n`);
});

it("takes an include that another one uses, and constants of which one is used", () => {
  expect(compose("-- @include one\n-- @include two\nreturn two()\n")).toContain("local function two() return one() + one() end");
  expect(compose("-- @include codes\nreturn WON\n")).toContain("local LOST = 'l'");
});

it.each([
  ["an unknown include", "-- @include three\nreturn three()\n", /script\.lua:5: there is no include three$/],
  ["one that is there twice", "-- @include one\n-- @include one\nreturn one()\n", /script\.lua:6: one is included already$/],
  ["one that includes itself", "-- @include self\nreturn self()\n", /include\/self\.lua:1: an include includes nothing/],
  ["one that includes another", "-- @include deep\nreturn deep()\n", /include\/deep\.lua:2: an include includes nothing/],
  ["one that nothing uses, though a comment names it", "-- @include one\nreturn 1 -- one\n", /script\.lua:5: nothing uses one$/],
  ["constants that nothing uses", "-- @include codes\nreturn 1\n", /script\.lua:5: nothing uses codes$/],
  ["one without what it needs", "-- @include two\nreturn two()\n", /script\.lua:5: two needs one included above it$/],
  ["one above what it needs", "-- @include two\n-- @include one\nreturn two()\n", /script\.lua:5: two needs one/],
  ["one of two functions", "-- @include pair\nreturn a() + b()\n", /include\/pair\.lua:1: an include is one function, or constants$/],
  ["one of nothing", "-- @include none\nreturn 1\n", /include\/none\.lua:1: an include is one function, or constants$/],
  ["a line that is nearly one", "return 1\n--@include one\n", /script\.lua:6: not a line like/],
  ["a path", "-- @include ../one\nreturn one()\n", /script\.lua:5: not a line like/],
])("refuses %s, and says where", (_, body, message) => {
  expect(() => compose(body)).toThrow(message);
});
