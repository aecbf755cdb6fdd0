import type { Curve, Results } from "../results.ts";
import { bareChart, costChart, curveChart, insteadChart } from "./charts.ts";

/** CPU of a decision over shards and over processes: a row of entries makes one curve. */
const scaleCurve = ({ scenarios }: Results, name: RegExp, x: string): Curve | undefined => {
  const points = Object.entries(scenarios).flatMap(([entry, { cpuMicros }]): [number, number][] => {
    const value = name.exec(entry)?.[1];
    return value === undefined || cpuMicros === null ? [] : [[Number(value), cpuMicros]];
  });
  return points.length < 2 ? undefined : { title: `CPU of a decision by ${x}`, x, y: "µs", lines: [{ name: "a decision", points }] };
};

/** Every entry's own latencies in one figure: how what is refused, decided and committed lies beside each other. */
const latencies = ({ scenarios }: Results): Curve | undefined => {
  const lines = Object.entries(scenarios).flatMap(([name, { curves, latencyPerSecond }]) =>
    name.startsWith("peer.") || latencyPerSecond === null
      ? []
      : curves
          .filter(({ x }) => x === "percentile")
          .flatMap((curve) => curve.lines.slice(0, 1))
          .map(({ points }) => ({ name, points })),
  );
  return lines.length < 2 ? undefined : { title: "open loop, fixed arrivals", x: "percentile", y: "ms", lines: lines.slice(0, 8) };
};

/** The figures that tell most, in the order in which they are looked at. */
export const overviewCharts = (results: Results): readonly string[] => {
  const drawn = (title: string, curve: Curve | undefined): string | undefined => curve && curveChart(title, curve);
  return [
    bareChart(results),
    insteadChart(results),
    costChart(results),
    drawn("Latency", latencies(results)),
    drawn("More shards", scaleCurve(results, /^scale\.(\d+)$/, "shards")),
    drawn("More gateway processes", scaleCurve(results, /^scale\.processes(\d+)$/, "gateway processes")),
  ].flatMap((svg) => svg ?? []);
};
