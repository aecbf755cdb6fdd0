import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const ROOT = new URL("../../", import.meta.url);
const pages = ["README.md", "README.zh-CN.md"] as const;
const read = (page: string): string => readFileSync(new URL(page, ROOT), "utf8");

/** Columns of a terminal: Chinese characters and full-width signs take two. */
const columns = (line: string): number => line.length + (line.match(/[\p{Script=Han}\u3000-\u303f\uff00-\uff60“”]/gu) ?? []).length;

const fenced = (text: string): string[] => [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? "");
const withoutFences = (text: string): string => text.replaceAll(/^```\w*\n[\s\S]*?^```$/gm, "");
const links = (text: string): string[] => [...text.matchAll(/\]\(([^)]+)\)|^\[why\]: (\S+)$/gm)].map((match) => match[1] ?? match[2] ?? "");
const commands = (text: string): string[] =>
  [...text.matchAll(/`(npm [^`]+|curl[^`]*)`/g)].map((match) => (match[1] ?? "").replaceAll(/\s+/g, " "));

describe.each(pages)("%s", (page) => {
  const text = read(page);

  it("is one screen to read: at most 150 lines of 100 columns, no cell over 60 characters", () => {
    const lines = text.trimEnd().split("\n");
    expect(lines.length).toBeLessThanOrEqual(150);
    expect(lines.filter((line) => columns(line) > 100)).toEqual([]);
    const cells = lines.filter((line) => line.startsWith("|")).flatMap((line) => line.split("|").map((cell) => cell.trim()));
    expect(cells.filter((cell) => cell.length > 60)).toEqual([]);
  });

  it("links only to what is there", () => {
    const local = links(text).filter((link) => !link.startsWith("http"));
    expect(local.length).toBeGreaterThan(10);
    expect(local.filter((link) => !existsSync(new URL(link.replace(/#.*$/, ""), ROOT)))).toEqual([]);
  });

  it("names only commands that package.json has", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const named = [...text.matchAll(/npm (?:run (?:-s )?([\w:]+)|(start|test)\b)/g)].map((match) => match[1] ?? match[2] ?? "");
    expect(named.length).toBeGreaterThan(3);
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});

it("says the same in both languages: headings, code, commands, links, figures", () => {
  const [english, chinese] = pages.map(read) as [string, string];
  const levels = (text: string): string[] => withoutFences(text).match(/^#+(?= )/gm) ?? [];
  expect(levels(chinese)).toEqual(levels(english));
  expect(fenced(chinese)).toEqual(fenced(english));
  expect(commands(chinese).toSorted()).toEqual(commands(english).toSorted());
  const others = (text: string): string[] =>
    links(text)
      .filter((link) => !link.startsWith("README"))
      .toSorted();
  expect(others(chinese)).toEqual(others(english));
  const figures = (text: string): string[] =>
    text
      .split("\n")
      .filter((line) => line.startsWith("|"))
      .slice(1)
      .map((line) =>
        line
          .split("|")
          .slice(2)
          .map((cell) => cell.trim())
          .join("|"),
      );
  expect(figures(chinese)).toHaveLength(figures(english).length);
  expect(figures(chinese).slice(1)).toEqual(figures(english).slice(1));
});
