import { describe, expect, it } from "vitest";
import { z } from "zod";
import { issuesText } from "./zod-issues.ts";

const textOf = (value: unknown, whole?: string): string => {
  const { error } = z.strictObject({ a: z.strictObject({ b: z.int("no") }), c: z.int("neither") }).safeParse(value);
  return error === undefined ? "" : issuesText(error, whole);
};

describe("issuesText", () => {
  it("has a clause for each issue, by its path or the name of the whole", () => {
    expect(textOf({ a: { b: "x" }, c: "y" })).toBe("a.b: no; c: neither");
    expect(textOf({ a: { b: 1 }, c: 1, d: 1 })).toMatch(/^body: .*"d"/);
    expect(textOf(1, "frame")).toMatch(/^frame: /);
    expect(textOf({ a: { b: 1 }, c: 1 })).toBe("");
  });
});
