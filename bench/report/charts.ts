import { init, type EChartsOption } from "echarts";
import type { Curve, Results } from "../results.ts";

/** Drawn once into SVG text: the page needs no script. */
const WIDTH = 560;
const HEIGHT = 340;
const ROW_HEIGHT = 26;
/** The engine, the reference, then whatever else there is. */
const COLORS = ["#c2410c", "#64748b", "#0e7490", "#65a30d", "#7c3aed", "#ca8a04", "#be185d", "#0369a1"];
const INK = "#334155";
const FAINT = "#e2e8f0";

const draw = (option: EChartsOption, height = HEIGHT): string => {
  const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
  try {
    chart.setOption({ animation: false, color: COLORS, textStyle: { fontFamily: "system-ui, sans-serif", color: INK }, ...option });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
};

const GRID = { left: 70, right: 28, top: 56, bottom: 52 };
const WITH_NAMES = { ...GRID, left: 170, right: 56 };
const LINES = { splitLine: { lineStyle: { color: FAINT } } };

const titled = (text: string, subtext = ""): NonNullable<EChartsOption["title"]> => ({
  text,
  subtext,
  left: 4,
  top: 2,
  itemGap: 4,
  textStyle: { fontSize: 14, color: INK },
  subtextStyle: { fontSize: 11 },
});
const named = (name: string): { name: string; nameLocation: "middle"; nameGap: number } => ({ name, nameLocation: "middle", nameGap: 30 });
const short = (value: number): string =>
  value >= 1e6 ? `${value / 1e6}M` : value >= 1_000 ? `${value / 1_000}k` : String(Number(value.toPrecision(6)));

/** Percentile -> place on the axis: each further nine takes the same room, as HdrHistogram's own plots do. */
const nines = (percentile: number): number => -Math.log10(1 - Math.min(percentile, 99.999) / 100);
const NINES_SHOWN = [0, 90, 99, 99.9, 99.99];
const MANY_POINTS = 30;
/** What lies this far apart is only to be seen on a logarithmic axis. */
const FAR_APART = 20;

const valueAxis = (curve: Curve): NonNullable<EChartsOption["yAxis"]> => {
  const values = curve.lines.flatMap(({ points }) => points.map(([, y]) => y)).filter((y) => y > 0);
  const isLog = curve.x === "percentile" && Math.max(...values) > FAR_APART * Math.min(...values);
  const axis = { name: curve.y, nameTextStyle: { align: "left" as const }, axisLabel: { formatter: short }, ...LINES };
  return isLog ? { type: "log", ...axis } : { type: "value", min: 0, ...axis };
};

const xAxis = (curve: Curve): NonNullable<EChartsOption["xAxis"]> => {
  if (curve.x === "percentile")
    return {
      type: "value",
      ...named("percentile"),
      min: 0,
      max: NINES_SHOWN.length - 1,
      interval: 1,
      axisLabel: { formatter: (value: number) => String(NINES_SHOWN[value] ?? "") },
      ...LINES,
    };
  const isDoubling = /batch|shards|processes/.test(curve.x);
  return isDoubling ? { type: "log", logBase: 2, ...named(curve.x), ...LINES } : { type: "value", ...named(curve.x), ...LINES };
};

const LEGEND_BESIDE = 2;

/** One figure for a curve: what its axes are says how it is drawn. */
export const curveChart = (title: string, curve: Curve): string => {
  const names = curve.lines.map(({ name }) => name);
  const isBelow = names.length > LEGEND_BESIDE;
  return draw(
    {
      title: titled(title, curve.title),
      legend: { show: names.length > 1, ...(isBelow ? { bottom: 4 } : { top: 4, right: 8 }), textStyle: { fontSize: 11 }, data: names },
      grid: { ...GRID, top: 76, bottom: isBelow ? 100 : GRID.bottom },
      aria: { enabled: true, label: { description: `${title}, ${curve.title}: ${names.join(", ")}` } },
      xAxis: xAxis(curve),
      yAxis: valueAxis(curve),
      series: curve.lines.map(({ name, points }) => ({
        name,
        type: "line",
        symbolSize: points.length > MANY_POINTS ? 0 : 5,
        lineStyle: { width: 2 },
        data: points.map(([x, y]) => [curve.x === "percentile" ? nines(x) : x, y]),
      })),
    },
    isBelow ? HEIGHT + 60 : HEIGHT,
  );
};

interface Bar {
  readonly name: string;
  readonly value: number;
}

const ratioBars = (title: string, subtitle: string, bars: readonly Bar[], type: "value" | "log"): string | undefined =>
  bars.length === 0
    ? undefined
    : draw(
        {
          title: titled(title, subtitle),
          grid: WITH_NAMES,
          xAxis: { type, ...named("times the reference"), ...LINES, ...(type === "log" ? {} : { min: 0 }) },
          yAxis: { type: "category", data: bars.map(({ name }) => name).toReversed(), axisTick: { show: false } },
          series: [
            {
              type: "bar",
              barMaxWidth: 16,
              data: bars.map(({ value }) => value).toReversed(),
              label: { show: true, position: "right", formatter: ({ value }) => Number(value).toPrecision(Number(value) < 10 ? 2 : 3) },
              markLine: {
                silent: true,
                symbol: "none",
                label: { formatter: "as fast", fontSize: 10 },
                lineStyle: { color: INK },
                data: [{ xAxis: 1 }],
              },
            },
          ],
        },
        GRID.top + GRID.bottom + bars.length * ROW_HEIGHT,
      );

const isBare = (reference: string | null): boolean => reference?.startsWith("bare") === true;

/** How much of the limit is left: everything that was measured against a bare server. */
export const bareChart = ({ scenarios }: Results): string | undefined => {
  const bars = Object.entries(scenarios).flatMap(([name, { ratio, reference }]) =>
    ratio !== null && isBare(reference) ? [{ name, value: ratio }] : [],
  );
  return ratioBars("Against the limit", "rate, of a bare uWebSockets.js server that sends the same bytes and does nothing", bars, "value");
};

/** How much is won: everything that was measured against another way to do the same. */
export const insteadChart = ({ scenarios }: Results): string | undefined => {
  const bars = Object.entries(scenarios).flatMap(([name, { ratio, reference }]) =>
    ratio !== null && !isBare(reference) ? [{ name, value: ratio }] : [],
  );
  return ratioBars("Against other ways to do the same", "rate, of what stands beside each entry in the table", bars, "log");
};

/** CPU microseconds for one, by program: where the time goes. */
export const costChart = ({ scenarios }: Results): string | undefined => {
  const rows = Object.entries(scenarios)
    .filter(([, { cpuMicros }]) => cpuMicros !== null)
    .toReversed();
  if (rows.length === 0) return undefined;
  const programs = [...new Set(rows.flatMap(([, { cpuSeconds }]) => Object.keys(cpuSeconds)))].filter((name) => name !== "generator");
  const share = (entry: Results["scenarios"][string], program: string): number => {
    const all = Object.entries(entry.cpuSeconds).reduce((sum, [name, seconds]) => sum + (name === "generator" ? 0 : seconds), 0);
    return all === 0 ? 0 : ((entry.cpuSeconds[program] ?? 0) / all) * (entry.cpuMicros ?? 0);
  };
  return draw(
    {
      title: titled("Where the time goes", "CPU of one answer, decision, order or message, by program"),
      legend: { bottom: 0, textStyle: { fontSize: 11 }, data: programs },
      grid: { ...WITH_NAMES, bottom: 84 },
      xAxis: { type: "value", ...named("µs, user + system"), ...LINES },
      yAxis: { type: "category", data: rows.map(([name]) => name), axisTick: { show: false } },
      series: programs.map((program) => ({
        name: program,
        type: "bar",
        stack: "cost",
        barMaxWidth: 16,
        data: rows.map(([, entry]) => Math.round(share(entry, program) * 100) / 100),
      })),
    },
    GRID.top + 84 + rows.length * ROW_HEIGHT,
  );
};
