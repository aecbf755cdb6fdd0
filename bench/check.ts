import { readFile, writeFile } from "node:fs/promises";
import { z } from "zod";
import type { Entry, Results } from "./results.ts";

/**
 * The regression guard. It compares ratios against a reference of the same run, never absolute rates: those say more
 * about the machine than about the engine. Each entry states how far below its baseline a ratio may lie.
 */
export const baselineSchema = z.strictObject({
  machine: z.string(),
  command: z.string(),
  at: z.string(),
  scenarios: z.record(z.string(), z.strictObject({ ratio: z.number().positive(), spread: z.number().min(0).max(0.9) })),
});
export type Baseline = Readonly<z.infer<typeof baselineSchema>>;

export interface Verdict {
  readonly entry: string;
  readonly ratio: number;
  readonly baseline: number;
  /** the least that passes */
  readonly least: number;
  readonly kind: "holds" | "worse" | "better";
}

/** Two runs of the same code on a quiet machine of this kind differ by so much. */
const LEAST_SPREAD = 0.15;
const MOST_SPREAD = 0.5;

/** What to commit as a baseline: every ratio, and as its spread the one that was seen, but at least 15 %. */
export const baselineOf = (results: Results): Baseline => ({
  machine: `${results.machine.cores} cores, ${results.machine.cpu}`,
  command: results.command,
  at: results.at,
  scenarios: Object.fromEntries(
    Object.entries(results.scenarios).flatMap(([name, { ratio, spread }]) =>
      ratio === null ? [] : [[name, { ratio: round(ratio), spread: round(Math.min(MOST_SPREAD, Math.max(LEAST_SPREAD, spread))) }]],
    ),
  ),
});

const round = (value: number): number => Math.round(value * 1_000) / 1_000;

/** Judges the entries that both have; those that were not measured are not judged. */
export const judge = (scenarios: Readonly<Record<string, Pick<Entry, "ratio">>>, baseline: Baseline): readonly Verdict[] =>
  Object.entries(baseline.scenarios).flatMap(([entry, stated]): Verdict[] => {
    const ratio = scenarios[entry]?.ratio;
    if (ratio === undefined || ratio === null) return [];
    const least = stated.ratio * (1 - stated.spread);
    const most = stated.ratio * (1 + stated.spread);
    return [{ entry, ratio, baseline: stated.ratio, least, kind: ratio < least ? "worse" : ratio > most ? "better" : "holds" }];
  });

/** @throws Error if the file is not a baseline */
export const readBaseline = async (file: string): Promise<Baseline> => baselineSchema.parse(JSON.parse(await readFile(file, "utf8")));

export const writeBaseline = (file: string, results: Results): Promise<void> =>
  writeFile(file, `${JSON.stringify(baselineOf(results), undefined, 2)}\n`);

export const verdictText = (verdicts: readonly Verdict[]): string =>
  verdicts
    .map(({ entry, ratio, baseline, least, kind }) => {
      const numbers = `${ratio.toFixed(3)}, baseline ${baseline.toFixed(3)}, at least ${least.toFixed(3)} passes`;
      if (kind === "worse") return `WORSE   ${entry}: ${numbers}`;
      return kind === "better" ? `better  ${entry}: ${numbers}; renew the baseline` : `holds   ${entry}: ${numbers}`;
    })
    .join("\n");
