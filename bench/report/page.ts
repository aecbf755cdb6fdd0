import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Curve, Entry, Results } from "../results.ts";
import { ratioText } from "../table.ts";
import { judgeTargets } from "../targets.ts";
import { costChart, curveChart, ratioChart } from "./charts.ts";

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => ESCAPES[character] ?? "");
const count = (value: number | null): string => (value === null ? "" : Math.round(value).toLocaleString("en-US"));
const fixed = (value: number | null, digits = 1): string => (value === null ? "" : value.toFixed(digits));
const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

const cells = (tag: "td" | "th", texts: readonly string[]): string =>
  `<tr>${texts.map((text) => `<${tag}>${text}</${tag}>`).join("")}</tr>`;

const row = (name: string, entry: Entry): string =>
  cells("td", [
    `<a href="#${escaped(name)}">${escaped(name)}</a>`,
    `${count(entry.perSecond)} ${escaped(entry.unit)}`,
    count(entry.referencePerSecond),
    ratioText(entry.ratio),
    `${Math.round(entry.spread * 100)} %`,
    entry.p50Ms === null ? "" : `${fixed(entry.p50Ms)} / ${fixed(entry.p99Ms)} at ${count(entry.latencyPerSecond)}`,
    fixed(entry.cpuMicros) + (entry.referenceCpuMicros === null ? "" : ` / ${fixed(entry.referenceCpuMicros)}`),
    entry.generatorBusy === null ? "" : `${Math.round(entry.generatorBusy * 100)} %`,
  ]);

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
      ["generator", escaped(entry.generator)],
      ["durability", escaped(entry.durability ?? "")],
      ["CPU seconds", list(entry.cpuSeconds, (value) => value.toFixed(2))],
      ["CPU seconds, reference", list(entry.referenceCpuSeconds, (value) => value.toFixed(2))],
      ["memory", list(entry.memoryBytes, megabytes)],
      ["numbers", list(entry.numbers, (value) => value.toLocaleString("en-US"))],
      ["notes", entry.notes.map(escaped).join("<br>")],
    ] as const
  ).filter(([, text]) => text !== "");

const section = (name: string, entry: Entry): string => `<section id="${escaped(name)}"><h2>${escaped(name)}</h2>
<table class="facts">${facts(entry)
  .map(([title, text]) => `<tr><th>${title}</th><td>${text}</td></tr>`)
  .join("")}</table>
${entry.curves.map((curve) => `<figure>${curveChart(name, curve)}</figure>`).join("\n")}</section>`;

/** CPU of a decision over shards and over processes: one line of entries makes one curve. */
const scaleCurve = (results: Results, name: RegExp, x: string): Curve | undefined => {
  const points = Object.entries(results.scenarios).flatMap(([entry, { cpuMicros }]): [number, number][] => {
    const value = name.exec(entry)?.[1];
    return value === undefined || cpuMicros === null ? [] : [[Number(value), cpuMicros]];
  });
  return points.length < 2 ? undefined : { title: `CPU by ${x}`, x, y: "µs", lines: [{ name: "a decision", points }] };
};

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1e293b}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #e2e8f0;vertical-align:top}
td:first-child,th:first-child,.facts td,.facts th{text-align:left}.facts th{white-space:nowrap;font-weight:600;color:#475569}
figure{margin:1rem 0;overflow-x:auto}h2{margin-top:2.5rem;border-top:2px solid #c2410c;padding-top:.6rem}.warn{color:#b45309}`;

const HEADS = ["entry", "a second", "reference", "ratio", "spread", "p50 / p99 ms", "CPU µs each, ours / ref.", "generator busy"];

/** The whole report: one file, no scripts, nothing loaded from elsewhere. */
export const reportPage = (results: Results): string => {
  const { machine, versions, generators, scenarios } = results;
  const curves = [scaleCurve(results, /^scale\.(\d+)$/, "shards"), scaleCurve(results, /^scale\.processes(\d+)$/, "gateway processes")];
  const overview = [ratioChart(results), costChart(results), ...curves.map((curve) => curve && curveChart("scale", curve))];
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Doorbuster bench</title><style>${STYLE}</style></head><body><h1>Doorbuster bench</h1>
<p><code>${escaped(results.command)}</code>, ${escaped(results.at)}. ${machine.cores} cores, ${escaped(machine.cpu)}, ${megabytes(machine.memoryBytes)},
${escaped(machine.system)}; load average when it began ${fixed(machine.loadAtStart, 2)}. ${Object.entries(versions)
    .map(([name, version]) => `${escaped(name)}: ${escaped(version)}`)
    .join("; ")}.</p>
<p>${results.seconds} s of load for each side of a measurement, in ${results.runs} runs in turn with the reference. Rates are medians; the
ratio is the median of the pairs' ratios, the spread how far those lie apart. Everything shares this machine, the generator too. Latencies
are open-loop: fixed arrivals, each counted from the moment at which it was meant to start.</p>
${results.skipped.map((text) => `<p class="warn">Skipped: ${escaped(text)}</p>`).join("\n")}
<table>${cells("th", HEADS)}${Object.entries(scenarios)
    .map(([name, entry]) => row(name, entry))
    .join("\n")}</table>
<ul>${judgeTargets(scenarios)
    .map(({ isReached, text }) => `<li${isReached ? "" : ' class="warn"'}>${isReached ? "reached" : "missed"}: ${escaped(text)}</li>`)
    .join("")}</ul>
<p>Most that each generator got from a bare server, so that nobody takes it for the engine's limit: ${escaped(list(generators, count) || "not measured")}.</p>
${overview.map((svg) => (svg === undefined ? "" : `<figure>${svg}</figure>`)).join("\n")}
${Object.entries(scenarios)
  .map(([name, entry]) => section(name, entry))
  .join("\n")}</body></html>
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
