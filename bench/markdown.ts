import { readFile, writeFile } from "node:fs/promises";
import type { Entry, Results } from "./results.ts";
import { ratioText } from "./table.ts";
import { judgeTargets } from "./targets.ts";

/** Between these two lines of a README stands what was measured last, and nothing else. */
const BEGIN = "<!-- measured: npm run bench -- --readme writes this -->";
const END = "<!-- /measured -->";

const count = (value: number | null): string => (value === null ? "" : Math.round(value).toLocaleString("en-US"));
const cells = (texts: readonly string[]): string => `| ${texts.join(" | ")} |`;

const row = (name: string, entry: Entry): string =>
  cells([
    `\`${name}\``,
    `${count(entry.perSecond)} ${entry.unit}`,
    count(entry.referencePerSecond),
    ratioText(entry.ratio),
    entry.ratio === null ? "" : `${Math.round(entry.spread * 100)} %`,
    entry.p50Ms === null ? "" : `${entry.p50Ms.toFixed(1)} / ${(entry.p99Ms ?? 0).toFixed(1)} at ${count(entry.latencyPerSecond)}`,
    entry.cpuMicros === null
      ? ""
      : `${entry.cpuMicros.toFixed(1)}${entry.referenceCpuMicros === null ? "" : ` / ${entry.referenceCpuMicros.toFixed(1)}`}`,
    entry.generatorBusy === null ? "" : `${Math.round(entry.generatorBusy * 100)} %`,
  ]);

const HEADS = ["entry", "a second", "reference", "ratio", "spread", "p50 / p99 ms", "CPU µs each, ours / ref.", "generator busy"];

const numbersOf = ([name, { numbers }]: readonly [string, Entry]): string[] =>
  Object.keys(numbers).length === 0
    ? []
    : [
        `- \`${name}\`: ${Object.entries(numbers)
          .map(([key, value]) => `${key} ${value.toLocaleString("en-US")}`)
          .join(", ")}`,
      ];

const versionsOf = (versions: Results["versions"]): string =>
  Object.entries(versions)
    .map(([name, version]) => `${name} ${/v?\d+\.\d+[\w.]*/.exec(version)?.[0] ?? version}`)
    .join(", ");

/** What was run, where and when. */
const headline = (results: Results): string => {
  const { machine } = results;
  const busy =
    machine.loadAtStart > machine.cores / 4
      ? ` — **other work was on the machine**: load average ${machine.loadAtStart.toFixed(1)} when it began`
      : "";
  return `\`${results.command}\`, ${results.at.slice(0, 10)}, ${machine.cores} cores (${machine.cpu}), ${versionsOf(results.versions)}${busy}.`;
};

const targetLines = (results: Results): string[] =>
  judgeTargets(results.scenarios).map(({ isReached, text }) => `- ${isReached ? "reached" : "**missed**"} ${text}`);

/** What matters most, for the front page: the targets of DESIGN 14. */
export const summaryOf = (results: Results): string => [headline(results), "", ...targetLines(results)].join("\n");

/** The whole outcome as Markdown: every entry, the targets, the further numbers. */
export const markdownOf = (results: Results): string => {
  const { scenarios } = results;
  const judged = targetLines(results);
  return [
    headline(results),
    "",
    cells(HEADS),
    cells(HEADS.map((_, column) => (column === 0 ? "---" : "---:"))),
    ...Object.entries(scenarios).map(([name, entry]) => row(name, entry)),
    "",
    ...judged,
    ...(judged.length === 0 ? [] : [""]),
    ...Object.entries(scenarios).flatMap(numbersOf),
    ...results.skipped.map((text) => `- skipped: ${text}`),
    "",
    `Most that a generator got from a bare server: ${
      Object.entries(results.generators)
        .map(([name, perSecond]) => `${name} ${count(perSecond)}`)
        .join("; ") || "not measured"
    }.`,
  ].join("\n");
};

/** @throws Error if the text has no place for it */
export const withMeasured = (text: string, measured: string): string => {
  const from = text.indexOf(BEGIN);
  const to = text.indexOf(END);
  if (from < 0 || to < from) throw new Error(`there is no line ${BEGIN} with ${END} below it`);
  return `${text.slice(0, from)}${BEGIN}\n\n${measured}\n\n${text.slice(to)}`;
};

/** Puts what was measured into a README in the place of what was measured before. */
export const writeMeasured = async (file: string, measured: string): Promise<void> => {
  const text = await readFile(file, "utf8");
  await writeFile(file, withMeasured(text, measured));
};
