import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const ROOT = new URL("../", import.meta.url);
const SOURCES = ["gateway", "deploy", "bench", "test"];
const PARTS = [
  "Admission",
  "Batcher",
  "Checkout",
  "DryShard",
  "OrderStates",
  "SaleBook",
  "SaleSearch",
  "ShardQueues",
  "SoldOut",
  "TurnClock",
  "Waiting",
  "Watching",
];
const CONSTRUCTS = new RegExp(String.raw`\bnew\s+(?:${PARTS.join("|")})\b`);

it("constructs the parts of the buy service in its composition alone; tests of one part are exempt", () => {
  const files = SOURCES.flatMap((folder) =>
    readdirSync(new URL(folder, ROOT), { recursive: true, encoding: "utf8" }).map((file) => `${folder}/${file}`),
  ).filter(
    // mutations quote the lines that they leave out
    (file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !file.startsWith("test/simulation/mutations/"),
  );
  const constructing = files.filter((file) => CONSTRUCTS.test(readFileSync(new URL(file, ROOT), "utf8")));
  expect(constructing.toSorted()).toEqual(["gateway/buy/compose.ts", "gateway/buy/shard-queues.ts"]);
});
