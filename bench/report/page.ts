import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Entry, Results } from "../results.ts";
import { ratioText } from "../table.ts";
import { judgeTargets } from "../targets.ts";
import { curveChart } from "./charts.ts";
import { overviewCharts } from "./overview.ts";
import { STYLE } from "./style.ts";

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => ESCAPES[character] ?? "");
const count = (value: number | null): string => (value === null ? "" : Math.round(value).toLocaleString("en-US"));
const fixed = (value: number | null, digits = 1): string => (value === null ? "" : value.toFixed(digits));
const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;
const percent = (part: number): string => `${Math.round(part * 100)} %`;

const cells = (tag: "td" | "th", texts: readonly string[]): string =>
  `<tr>${texts.map((text) => `<${tag}>${text}</${tag}>`).join("")}</tr>`;

const pair = (mine: string, theirs: string): string => (theirs === "" ? mine : `${mine} <span class="ref">/ ${theirs}</span>`);
const latencyText = (p50: number | null, p99: number | null): string => (p50 === null ? "" : `${fixed(p50)} · ${fixed(p99)}`);

const row = (name: string, entry: Entry): string =>
  cells("td", [
    `<a href="#${escaped(name)}">${escaped(name)}</a>`,
    `${count(entry.perSecond)} <span class="unit">${escaped(entry.unit)}</span>`,
    count(entry.referencePerSecond),
    `<b>${ratioText(entry.ratio)}</b>`,
    entry.runs.length > 1 ? percent(entry.spread) : "",
    pair(latencyText(entry.p50Ms, entry.p99Ms), latencyText(entry.referenceP50Ms, entry.referenceP99Ms)),
    count(entry.latencyPerSecond),
    pair(fixed(entry.cpuMicros), fixed(entry.referenceCpuMicros)),
    entry.generatorBusy === null ? "" : percent(entry.generatorBusy),
  ]);

const HEADS = [
  "entry",
  "a second",
  "reference",
  "ratio",
  "spread",
  'p50 · p99 ms <span class="ref">/ ref.</span>',
  "at arrivals/s",
  'CPU µs each <span class="ref">/ ref.</span>',
  "generator busy",
];

const list = (numbers: Readonly<Record<string, number>>, show: (value: number) => string): string =>
  Object.entries(numbers)
    .map(([name, value]) => `${escaped(name)} ${show(value)}`)
    .join(", ");

const facts = (entry: Entry): readonly (readonly [string, string])[] =>
  (
    [
      ["what", escaped(entry.what)],
      ["reference", escaped(entry.reference ?? "none")],
      ["runs, ours / reference", entry.runs.map((run) => `${count(run.perSecond)} / ${count(run.referencePerSecond)}`).join(" · ")],
      [
        "CPU µs each, ours / reference",
        entry.runs
          .flatMap((run) => (run.cpuMicros === null ? [] : [`${fixed(run.cpuMicros)} / ${fixed(run.referenceCpuMicros)}`]))
          .join(" · "),
      ],
      ["generator", escaped(entry.generator)],
      ["durability", escaped(entry.durability ?? "")],
      ["CPU seconds", list(entry.cpuSeconds, (value) => value.toFixed(2))],
      ["CPU seconds, reference", list(entry.referenceCpuSeconds, (value) => value.toFixed(2))],
      ["memory", list(entry.memoryBytes, megabytes)],
      ["numbers", list(entry.numbers, (value) => value.toLocaleString("en-US"))],
      ["notes", entry.notes.map(escaped).join("<br>")],
    ] as const
  ).filter(([, text]) => text !== "");

const figures = (svgs: readonly string[]): string =>
  svgs.length === 0 ? "" : `<div class="figures">${svgs.map((svg) => `<figure>${svg}</figure>`).join("\n")}</div>`;

const section = (name: string, entry: Entry): string => `<section id="${escaped(name)}"><h3>${escaped(name)}</h3>
<table class="facts">${facts(entry)
  .map(([title, text]) => `<tr><th>${title}</th><td>${text}</td></tr>`)
  .join("")}</table>
${figures(entry.curves.map((curve) => curveChart(name, curve)))}</section>`;

const targets = (scenarios: Results["scenarios"]): string => {
  const rows = judgeTargets(scenarios);
  if (rows.length === 0) return "";
  const lines = rows.flatMap(({ what, measures }) =>
    measures.map(({ entry, name, isReached, measured, target, limit }, index) =>
      cells("td", [
        index === 0 ? escaped(what) : "",
        `<a href="#${escaped(entry)}">${escaped(name || entry)}</a>`,
        escaped(target),
        `<b>${escaped(measured)}</b>`,
        `<span class="${isReached ? "reached" : "missed"}">${isReached ? "reached" : "missed"}</span>${isReached || limit === undefined ? "" : ` ${escaped(limit)}`}`,
      ]),
    ),
  );
  return `<h2>Targets</h2><table class="targets">${cells("th", ["what", "", "target", "measured", ""])}${lines.join("\n")}</table>`;
};

const machineTable = (results: Results): string => {
  const { machine, versions } = results;
  const rows: readonly (readonly [string, string])[] = [
    ["command", `<code>${escaped(results.command)}</code>`],
    ["when", `${escaped(results.at.replace("T", " ").slice(0, 16))} UTC, took ${count(results.tookSeconds)} s`],
    ["machine", `${machine.cores} cores, ${escaped(machine.cpu)}, ${megabytes(machine.memoryBytes)}, ${escaped(machine.system)}`],
    ["load when it began", fixed(machine.loadAtStart, 2)],
    [
      "versions",
      Object.entries(versions)
        .map(([name, version]) => `${escaped(name)} ${escaped(/v?\d+\.\d+[\w.]*/.exec(version)?.[0] ?? version)}`)
        .join(", "),
    ],
    ["load", `${results.seconds} s for each side of a measurement, in ${results.runs} runs in turn with the reference`],
    ["generators' own limit", `${escaped(list(results.generators, count) || "not measured")} (answers a second from a bare server)`],
  ];
  return `<table class="facts">${rows.map(([title, text]) => `<tr><th>${title}</th><td>${text}</td></tr>`).join("")}</table>`;
};

/** The whole report: one file, no scripts, nothing loaded from elsewhere. */
export const reportPage = (results: Results): string => {
  const entries = Object.entries(results.scenarios);
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Doorbuster bench</title><style>${STYLE}</style></head><body><h1>Doorbuster bench</h1>
${machineTable(results)}
<p>Rates are medians; the ratio is the median of the pairs' ratios, the spread how far those lie apart. Generator, engine and stores share
this machine. Latencies are open-loop: fixed arrivals, each counted from the moment at which it was meant to start.</p>
${results.skipped.map((text) => `<p class="missed">Skipped: ${escaped(text)}</p>`).join("\n")}
${results.broken.map((text) => `<p class="missed">Broken: ${escaped(text)}</p>`).join("\n")}
${targets(results.scenarios)}
${figures(overviewCharts(results))}
<h2>Everything that was measured</h2>
<div class="wide"><table>${cells("th", HEADS)}${entries.map(([name, entry]) => row(name, entry)).join("\n")}</table></div>
<h2>One by one</h2>
${entries.map(([name, entry]) => section(name, entry)).join("\n")}</body></html>
`;
};

/** Writes `index.html` and `results.json` into a folder, which is made. @returns the page's path */
export const writeReport = async (folder: string, results: Results): Promise<string> => {
  await mkdir(folder, { recursive: true });
  const page = join(folder, "index.html");
  await writeFile(page, reportPage(results));
  await writeFile(join(folder, "results.json"), `${JSON.stringify(results, undefined, 2)}\n`);
  return page;
};
