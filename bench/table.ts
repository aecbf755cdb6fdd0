import Table from "cli-table3";
import { NO_INNER_LINES, type Palette } from "../deploy/cli/color.ts";
import type { Entry, Results } from "./results.ts";
import { judgeTargets, targetText } from "./targets.ts";

const count = (value: number | null): string => (value === null ? "" : Math.round(value).toLocaleString("en-US"));
const percent = (part: number | null): string => (part === null ? "" : `${Math.round(part * 100)} %`);
const short = (value: number | null): string => (value === null ? "" : value < 100 ? value.toPrecision(2) : count(value));

/** A ratio as people say it: 0.87, 12x. */
export const ratioText = (ratio: number | null): string =>
  ratio === null ? "" : ratio < 9.95 ? ratio.toFixed(2) : `${Math.round(ratio)}x`;

const latencyText = (entry: Entry): string =>
  entry.p50Ms === null ? "" : `${entry.p50Ms.toFixed(1)} / ${(entry.p99Ms ?? 0).toFixed(1)} at ${count(entry.latencyPerSecond)}`;

const row = (name: string, entry: Entry): string[] => [
  name,
  `${count(entry.perSecond)} ${entry.unit}`,
  count(entry.referencePerSecond),
  ratioText(entry.ratio),
  entry.runs.length > 1 ? percent(entry.spread) : "",
  latencyText(entry),
  short(entry.cpuMicros) + (entry.referenceCpuMicros === null ? "" : ` / ${short(entry.referenceCpuMicros)}`),
  percent(entry.generatorBusy),
];

/** The whole outcome for a terminal. */
export const resultsText = (results: Results, palette: Palette): string => {
  const table = new Table({
    head: ["entry", "a second", "reference", "ratio", "spread", "p50 / p99 ms", "CPU µs each", "generator"],
    style: palette.table,
    chars: NO_INNER_LINES,
    colAligns: ["left", "right", "right", "right", "right", "right", "right", "right"],
  });
  for (const [name, entry] of Object.entries(results.scenarios)) table.push(row(name, entry));
  const { machine } = results;
  const lines = [
    `${results.command}, ${results.at.slice(0, 10)}, ${machine.cores} cores (${machine.cpu}), load when it began ${machine.loadAtStart.toFixed(2)}, took ${Math.round(results.tookSeconds)} s`,
    table.toString(),
    "CPU µs: of everything but the generator, ours / the reference's. generator: how busy it was; near 100 % it is the limit.",
    `most that a generator got from a bare server: ${
      Object.entries(results.generators)
        .map(([name, perSecond]) => `${name} ${count(perSecond)}`)
        .join("; ") || "not measured"
    }`,
    ...judgeTargets(results.scenarios).flatMap((row) =>
      row.measures.map((measure) =>
        measure.isReached ? palette.good(`reached  ${targetText(row, measure)}`) : palette.bad(`missed   ${targetText(row, measure)}`),
      ),
    ),
    ...results.skipped.map((text) => palette.warning(`SKIPPED ${text}`)),
    ...results.broken.map((text) => palette.bad(`BROKEN ${text}`)),
  ];
  return `${lines.join("\n")}\n`;
};
