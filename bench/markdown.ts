import { readFile, writeFile } from "node:fs/promises";
import type { Entry, Results } from "./results.ts";
import { ratioText } from "./table.ts";
import { judgeTargets, targetText, type JudgedRow, type Language } from "./targets.ts";

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

/** What was run, where and when; a line for the command, for the machine, for the versions. */
const headline = (results: Results): readonly string[] => {
  const { machine } = results;
  const busy =
    machine.loadAtStart > machine.cores / 4
      ? ` — **other work was on the machine**: load average ${machine.loadAtStart.toFixed(1)} when it began`
      : "";
  return [
    `\`${results.command}\`,`,
    `${results.at.slice(0, 10)}, ${machine.cores} cores (${machine.cpu}), shared by generator, engine and stores${busy};`,
    `${versionsOf(results.versions)}.`,
  ];
};

const targetLines = (results: Results): string[] =>
  judgeTargets(results.scenarios).flatMap((row) =>
    row.measures.map((measure) => `- ${measure.isReached ? "reached" : "**missed**"} ${targetText(row, measure)}`),
  );

/** Different values once each; of many that differ, the least and the most. */
const shortly = (values: readonly string[]): string => {
  const different = [...new Set(values)];
  if (different.length <= 3) return different.join("; ");
  const sorted = different.toSorted((a, b) => Number.parseFloat(a.replaceAll(",", "")) - Number.parseFloat(b.replaceAll(",", "")));
  return `${sorted[0]} to ${sorted.at(-1)}`;
};

/** Where the bench's page says of each target whether it is reached, and if not, why. */
const WHY = "[why]: bench/README.md#targets";

/** The words of the front pages that are not a target's. */
const FRONT_WORDS = {
  en: { heads: ["what", "target", "measured", ""], peers: "wins against Fastify: BullMQ; SQL alone" },
  zh: { heads: ["项目", "目标", "实测", ""], peers: "成功下单，与 Fastify 之比：BullMQ；仅 SQL" },
} as const;

const frontRow = ({ front, measures }: JudgedRow, language: Language): readonly string[] => {
  if (front === undefined) return [];
  const isReached = measures.every((measure) => measure.isReached);
  const target = shortly(measures.map((measure) => measure.target));
  const measured = shortly(measures.map((measure) => measure.measured));
  return [cells([front[language], target, measured, isReached ? "✓" : "[✗][why]"])];
};

/** The usual stacks of a Node shop, in one line: how many times their wins are ours. */
const frontPeers = (scenarios: Results["scenarios"], language: Language): readonly string[] => {
  const ratios = ["peer.node", "peer.postgres"].flatMap((name) => scenarios[name]?.ratio ?? []);
  return ratios.length === 0 ? [] : [cells([FRONT_WORDS[language].peers, "", ratios.map(ratioText).join("; "), ""])];
};

const targetTable = ({ scenarios }: Results, language: Language): string[] => {
  const lines = [...judgeTargets(scenarios).flatMap((row) => frontRow(row, language)), ...frontPeers(scenarios, language)];
  return lines.length === 0 ? [] : [cells(FRONT_WORDS[language].heads), cells(["---", "---", "---", "---"]), ...lines, "", WHY];
};

/** What people would use instead, beside ours in the same run. */
const peerTable = ({ scenarios }: Results): string[] => {
  const side = (entry: Entry | undefined): string[] =>
    entry === undefined || entry.ratio === null
      ? ["", ""]
      : [`${count(entry.referencePerSecond)} : ${count(entry.perSecond)}`, `**${ratioText(entry.ratio)}**`];
  const names = Object.keys(scenarios).filter((name) => /^peer\.[^.]+$/.test(name));
  if (names.length === 0) return [];
  const lines = names.map((name) => {
    const entry = scenarios[name];
    const ms = (p50: number | null | undefined, p99: number | null | undefined): string =>
      p50 === null || p50 === undefined ? "" : `${p50.toFixed(1)} / ${(p99 ?? 0).toFixed(1)}`;
    const latency = [ms(entry?.referenceP50Ms, entry?.referenceP99Ms), ms(entry?.p50Ms, entry?.p99Ms)].join(" : ");
    const at = entry?.latencyPerSecond ?? null;
    return cells([
      entry?.reference ?? "",
      ...side(entry),
      ...side(scenarios[`${name}.refusals`]),
      at === null ? "" : `${latency} at ${count(at)}/s`,
    ]);
  });
  const heads = [
    "instead",
    "wins/s, theirs : ours",
    "",
    "refusals/s, theirs : ours",
    "",
    "p50 / p99 ms of a win at the same rate, theirs : ours",
  ];
  return ["", cells(heads), cells(heads.map((_, column) => (column === 0 ? "---" : "---:"))), ...lines];
};

/** What matters most, for the front page: at most ten lines of the targets of DESIGN 14, and what people would use instead. */
export const summaryOf = (results: Results, language: Language = "en"): string =>
  [...targetTable(results, language), "", ...headline(results)].join("\n");

/** The whole outcome as Markdown: every entry, the targets, the further numbers. */
export const markdownOf = (results: Results): string => {
  const { scenarios } = results;
  const judged = targetLines(results);
  return [
    ...headline(results),
    "",
    cells(HEADS),
    cells(HEADS.map((_, column) => (column === 0 ? "---" : "---:"))),
    ...Object.entries(scenarios).map(([name, entry]) => row(name, entry)),
    "",
    ...(judged.length === 0 ? [] : ["### Targets", "", ...judged, ""]),
    ...peerTable(results),
    "",
    ...Object.entries(scenarios).flatMap(numbersOf),
    ...results.skipped.map((text) => `- skipped: ${text}`),
    ...results.broken.map((text) => `- **broken**: ${text}`),
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
