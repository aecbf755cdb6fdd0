import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { editedFile } from "./built-gateway.ts";
import { COMPOSITION_MUTATIONS } from "./composition.ts";

const LONG_MS = 600_000;
const GATEWAY = new URL("../../../gateway/buy/", import.meta.url);
const SIMULATE = fileURLToPath(new URL("../../../dist/test/simulation/main.js", import.meta.url));

it.each(COMPOSITION_MUTATIONS.map((one) => [one.name, one.edit] as const))("%s: is a piece of what ships", (_name, edit) => {
  const text = readFileSync(new URL(`${edit.file}.ts`, GATEWAY), "utf8");
  expect(editedFile(text, edit.file, [edit])).not.toBe(text);
});

it(
  "notices each part that is left out of the gateway",
  async () => {
    // it fails if one is not caught
    const { stdout } = await promisify(execFile)(process.execPath, [SIMULATE, "--mutations", "composition", "--seeds", "600"]);
    const [, ran, caught] = /(\d+) mutations: (\d+) caught/.exec(stdout) ?? [];
    // the coordinator's parts are among them (coordinator-composition.ts)
    expect(Number(ran)).toBeGreaterThanOrEqual(COMPOSITION_MUTATIONS.length);
    expect(caught).toBe(ran);
  },
  LONG_MS,
);
