import { readdirSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const GATEWAY = new URL("../", import.meta.url);
const REGISTERS = /\bapp\s*\.\s*(?:get|post|put|patch|del|options|head|connect|trace|any|ws)\s*[(<]/;

it("registers routes in the wrapper alone", () => {
  const files = readdirSync(GATEWAY, { recursive: true, encoding: "utf8" }).filter(
    // the admin API is fastify's
    (file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !file.startsWith("testing") && !file.startsWith("admin"),
  );
  const registering = files.filter((file) => REGISTERS.test(readFileSync(new URL(file, GATEWAY), "utf8")));
  // the trial's app is its own, and nobody else's requests come there
  expect(registering.toSorted()).toEqual(["http/options.ts", "http/parser-trial.ts", "http/route.ts", "http/socket-route.ts"]);
});
