import { init, type EChartsOption } from "echarts";
import { summaryOf, type Sample, type SoakReport } from "./report.ts";

const WIDTH = 1_000;
const HEIGHT = 300;
const MB = 2 ** 20;

const escape = (text: string): string => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** Draws without a browser: the page needs neither scripts nor a network. */
const svg = (option: EChartsOption): string => {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: HEIGHT });
  chart.setOption({ animation: false, grid: { left: 70, right: 20, top: 50, bottom: 40 }, ...option });
  const drawn = chart.renderToSVGString();
  chart.dispose();
  return drawn;
};

type Points = [number, number][];

const line = (name: string, data: Points): object => ({ name, type: "line", showSymbol: false, lineStyle: { width: 1.5 }, data });
/** All plots of a page have the same time below each other. */
const timeAxis = (report: SoakReport) => ({
  type: "value" as const,
  name: "min",
  nameLocation: "end" as const,
  nameGap: 4,
  min: 0,
  max: report.minutes,
});
const axes = (report: SoakReport, unit: string): EChartsOption => ({
  legend: { top: 0, type: "scroll" },
  xAxis: timeAxis(report),
  yAxis: { type: "value", name: unit, min: 0 },
});

const minutes = (seconds: number): number => Math.round((seconds / 60) * 100) / 100;

/** Per second, from totals. */
const rateOf = (samples: readonly Sample[], total: (sample: Sample) => number): Points =>
  samples.slice(1).map((sample, n) => {
    const before = samples[n] as Sample;
    return [minutes(sample.atS), Math.round((total(sample) - total(before)) / Math.max(sample.atS - before.atS, 0.001))];
  });

const throughput = (report: SoakReport): string =>
  svg({
    ...axes(report, "per s"),
    series: [
      line(
        "requests",
        rateOf(report.samples, (sample) => sample.requests),
      ),
      line(
        "purchases won",
        rateOf(report.samples, (sample) => sample.won),
      ),
      line(
        "buyers waiting",
        report.samples.map((sample) => [minutes(sample.atS), sample.waiting]),
      ),
    ],
  });

const total = (report: SoakReport): string =>
  svg({
    ...axes(report, "purchases"),
    series: [
      line(
        "purchases won",
        report.samples.map((sample) => [minutes(sample.atS), sample.won]),
      ),
    ],
  });

const COUNTED = ["kills", "pauses", "disturbances", "restarts", "redeliveries", "violations"] as const;

const counted = (report: SoakReport): string =>
  svg({
    ...axes(report, "so far"),
    series: COUNTED.map((what) =>
      line(
        what,
        report.samples.map((sample) => [minutes(sample.atS), sample[what]]),
      ),
    ),
  });

const memory = (report: SoakReport): string => {
  const parts = Object.keys(report.samples[0]?.memoryBytes ?? {});
  return svg({
    ...axes(report, "MB"),
    series: parts.map((part) =>
      line(
        part,
        report.samples.map((sample) => [minutes(sample.atS), Math.round((sample.memoryBytes[part] ?? 0) / MB)]),
      ),
    ),
  });
};

const faults = (report: SoakReport): string => {
  const kinds = [...new Set(report.faultLog.map(({ kind }) => kind))].sort();
  return svg({
    xAxis: timeAxis(report),
    yAxis: { type: "category", data: kinds },
    grid: { left: 100, right: 20, top: 20, bottom: 40 },
    series: [{ type: "scatter", symbolSize: 6, data: report.faultLog.map(({ atS, kind }) => [minutes(atS), kind]) }],
  });
};

const table = (rows: readonly (readonly [string, string])[]): string =>
  `<table>${rows.map(([what, value]) => `<tr><th>${escape(what)}</th><td>${escape(value)}</td></tr>`).join("")}</table>`;

const violationsOf = ({ violations }: SoakReport): string =>
  violations.length === 0
    ? '<p class="good">No promise was broken.</p>'
    : `<ul class="bad">${violations.map(({ atS, text }) => `<li>${minutes(atS)} min: ${escape(text)}</li>`).join("")}</ul>`;

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:1040px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse}th,td{text-align:left;padding:.25em 1em .25em 0;border-bottom:1px solid #ddd;vertical-align:top}
th{font-weight:600;white-space:nowrap}.good{color:#176f2c;font-weight:600}.bad{color:#b00020}code{background:#f2f2f2;padding:.1em .3em}svg{max-width:100%;height:auto}`;

/** The report as one page that needs nothing else. */
export const pageOf = (report: SoakReport): string => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Doorbuster soak</title><style>${STYLE}</style></head><body>
<h1>Doorbuster soak, ${escape(report.startedAt)}</h1>
<p><code>${escape(report.command)}</code></p>
${violationsOf(report)}
${table(summaryOf(report))}
<h2>Load and answers</h2>${throughput(report)}
<h2>Purchases</h2>${total(report)}
<h2>Kills, pauses, disturbed connections, restarts, redeliveries, violations</h2>${counted(report)}
<h2>Faults, each at its time</h2>${faults(report)}
<h2>Memory, each part with all its processes</h2>${memory(report)}
</body></html>
`;
