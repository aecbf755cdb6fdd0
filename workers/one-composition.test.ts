import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const ROOT = new URL("../", import.meta.url);
const SOURCES = ["workers", "deploy", "bench", "test"];
const CLASSES = ["KnownPositions", "RestoreQueue", "Settler", "Sweep"];
const CALLS = ["applyDelivery", "expireOrders", "restoreShard", "runApplier"];
const CONSTRUCTS = new RegExp(String.raw`\bnew\s+(?:${CLASSES.join("|")})\(|\b(?:${CALLS.join("|")})\(`);
/** Where a part's own unit tests are: those may construct it. */
const OWN_TESTS = /^workers\/(?:apply|orders|restore|sales)\/[^/]+\.test\.ts$/;

it("puts the parts of a worker together in its composition alone", () => {
  const files = SOURCES.flatMap((folder) =>
    readdirSync(new URL(folder, ROOT), { recursive: true, encoding: "utf8" }).map((file) => `${folder}/${file}`),
  ).filter((file) => file.endsWith(".ts") && !OWN_TESTS.test(file));
  const constructing = files.filter((file) => CONSTRUCTS.test(readFileSync(new URL(file, ROOT), "utf8")));
  // the applier is a loop around `applyDelivery`
  expect(constructing.toSorted()).toEqual(["workers/apply/applier.ts", "workers/compose.ts"]);
});
