import { init, type EChartsOption } from "echarts";
import type { Curve, Results } from "../results.ts";

/** Drawn once into SVG text: the page needs no script. */
const WIDTH = 720;
const HEIGHT = 380;
const COLORS = ["#c2410c", "#475569", "#0e7490", "#65a30d", "#7c3aed"];

const draw = (option: EChartsOption): string => {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height: HEIGHT });
  try {
    chart.setOption({ animation: false, color: COLORS, textStyle: { fontFamily: "sans-serif" }, ...option });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
};

const GRID = { left: 80, right: 24, top: 64, bottom: 56 };

/** Percentile -> place on the axis: each further nine takes the same room, as HdrHistogram's own plots do. */
const nines = (percentile: number): number => -Math.log10(1 - Math.min(percentile, 99.999) / 100);
const NINES_SHOWN = [0, 90, 99, 99.9, 99.99];

const nameOf = (curve: Curve): string => curve.lines.map(({ name }) => name).join(", ");

/** One figure for a curve: what its axes are says how it is drawn. */
export const curveChart = (title: string, curve: Curve): string => {
  const isLatency = curve.x === "percentile";
  const isBatch = /batch|shards/.test(curve.x);
  return draw({
    title: { text: `${title}: ${curve.title}`, left: 8, top: 6, textStyle: { fontSize: 15 } },
    legend: { top: 32, right: 16, data: curve.lines.map(({ name }) => name) },
    grid: GRID,
    aria: { enabled: true, label: { description: `${curve.title}: ${nameOf(curve)}` } },
    xAxis: isLatency
      ? {
          type: "value",
          name: "percentile",
          nameLocation: "middle",
          nameGap: 32,
          min: 0,
          max: 4,
          interval: 1,
          axisLabel: { formatter: (value: number) => String(NINES_SHOWN[value] ?? "") },
        }
      : { type: isBatch ? "log" : "value", logBase: 2, name: curve.x, nameLocation: "middle", nameGap: 32 },
    yAxis: { type: "value", name: curve.y, min: 0 },
    series: curve.lines.map(({ name, points }) => ({
      name,
      type: "line",
      symbolSize: points.length > 30 ? 0 : 5,
      data: points.map(([x, y]) => [isLatency ? nines(x) : x, y]),
    })),
  });
};

/** All ratios on one axis, with the line at which both sides are as fast. */
export const ratioChart = (results: Results): string | undefined => {
  const rows = Object.entries(results.scenarios)
    .flatMap(([name, { ratio }]) => (ratio === null ? [] : [{ name, ratio }]))
    .toReversed();
  if (rows.length === 0) return undefined;
  return draw({
    title: { text: "rate against the reference (1 = as fast)", left: 8, top: 6, textStyle: { fontSize: 15 } },
    grid: { ...GRID, left: 190 },
    xAxis: { type: "log", name: "times the reference", nameLocation: "middle", nameGap: 32 },
    yAxis: { type: "category", data: rows.map(({ name }) => name) },
    series: [
      {
        type: "bar",
        data: rows.map(({ ratio }) => ratio),
        label: { show: true, position: "right", formatter: ({ value }) => Number(value).toFixed(2) },
      },
    ],
  });
};

/** CPU microseconds for one, by program: where the time goes. */
export const costChart = (results: Results): string | undefined => {
  const rows = Object.entries(results.scenarios)
    .filter(([, { cpuMicros }]) => cpuMicros !== null)
    .toReversed();
  if (rows.length === 0) return undefined;
  const programs = [...new Set(rows.flatMap(([, { cpuSeconds }]) => Object.keys(cpuSeconds)))].filter((name) => name !== "generator");
  const share = (entry: Results["scenarios"][string], program: string): number => {
    const all = Object.entries(entry.cpuSeconds).reduce((sum, [name, seconds]) => sum + (name === "generator" ? 0 : seconds), 0);
    return all === 0 ? 0 : ((entry.cpuSeconds[program] ?? 0) / all) * (entry.cpuMicros ?? 0);
  };
  return draw({
    title: { text: "CPU for one, µs, by program", left: 8, top: 6, textStyle: { fontSize: 15 } },
    legend: { top: 32, right: 16, data: programs },
    grid: { ...GRID, left: 190 },
    xAxis: { type: "value", name: "µs", nameLocation: "middle", nameGap: 32 },
    yAxis: { type: "category", data: rows.map(([name]) => name) },
    series: programs.map((program) => ({
      name: program,
      type: "bar",
      stack: "cost",
      data: rows.map(([, entry]) => Math.round(share(entry, program) * 100) / 100),
    })),
  });
};
