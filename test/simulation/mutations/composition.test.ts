import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { ARCHIVE_EDITS } from "./archive.ts";
import { editedFile } from "./built-gateway.ts";
import { COMPOSITION_MUTATIONS } from "./composition.ts";

const LONG_MS = 600_000;
const GATEWAY = new URL("../../../gateway/buy/", import.meta.url);
const SIMULATE = fileURLToPath(new URL("../../../dist/test/simulation/main.js", import.meta.url));

it.each([...COMPOSITION_MUTATIONS, ...ARCHIVE_EDITS].map((one) => [one.name, one.edit] as const))(
  "%s: is a piece of what ships",
  (_name, edit) => {
    const text = readFileSync(new URL(`${edit.file}.ts`, GATEWAY), "utf8");
    expect(editedFile(text, edit.file, [edit])).not.toBe(text);
  },
);

it(
  "notices each part that is left out of gateway, coordinator or worker",
  async () => {
    // it fails if one is neither caught nor covered
    const { stdout } = await promisify(execFile)(process.execPath, [SIMULATE, "--mutations", "composition", "--seeds", "600"]);
    const [, ran] = /(\d+) mutations: \d+ caught, 0 neither/.exec(stdout) ?? [];
    // the coordinator's and the worker's parts are among them (coordinator-composition.ts, worker-composition.ts)
    expect(Number(ran)).toBeGreaterThanOrEqual(COMPOSITION_MUTATIONS.length);
    // the sweep does what the settler does, later: they are left out together, too
    const covered = [...stdout.matchAll(/^\d+\/\d+ (.+): not caught alone/gmu)].map(([, name]) => name);
    expect(covered).toEqual(["composition: worker's settler left out"]);
  },
  LONG_MS,
);
