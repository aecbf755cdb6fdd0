import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const ROOT = new URL("../", import.meta.url);
const SOURCES = ["coordinator", "deploy", "bench", "test"];
const CLASSES = ["Keeper", "Lease", "MessageRunner", "Messages", "Mover", "Placement", "Relay", "RelaySupervisor"];
const CALLS = ["beginEpoch", "tellAttempts", "watchSoldOut"];
const CONSTRUCTS = new RegExp(String.raw`\bnew\s+(?:${CLASSES.join("|")})\(|(?<!\.|#)\b(?:${CALLS.join("|")})\(`);
/** Where a part's own unit tests are: those may construct it. */
const OWN_TESTS = /^coordinator\/(?:shards|sales|messages)\/.*\.test\.ts$/;
/** Redis and Postgres as the simulation models them have functions of such names. */
const MODELS = /^test\/simulation\/(?:redis|postgres)\//;

it("puts the parts of a coordinator together in its compositions alone", () => {
  const files = SOURCES.flatMap((folder) =>
    readdirSync(new URL(folder, ROOT), { recursive: true, encoding: "utf8" }).map((file) => `${folder}/${file}`),
  ).filter((file) => file.endsWith(".ts") && !OWN_TESTS.test(file) && !MODELS.test(file));
  const constructing = files.filter((file) => CONSTRUCTS.test(readFileSync(new URL(file, ROOT), "utf8")));
  expect(constructing.toSorted()).toEqual([
    "coordinator/compose.ts",
    "coordinator/messages/compose.ts",
    // a keeper is made of a lease, attempts and a supervisor, and that of relays
    "coordinator/shards/keeper.ts",
    "coordinator/shards/relay-supervisor.ts",
    // the messages' world has leases without shards that sell: no keeper could hold them
    "test/simulation/messages/coordinator.ts",
  ]);
});
