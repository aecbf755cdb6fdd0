import type { Environment } from "../deploy/local/index.ts";
import { endChildren } from "./load/child.ts";
import { wrkVersion } from "./load/wrk.ts";
import { machine, versions } from "./machine.ts";
import { isAsked } from "./plan.ts";
import type { Entry, Results } from "./results.ts";
import type { Bench, Scenario } from "./scenario.ts";
import type { Screen } from "./screen.ts";

export interface RunOptions {
  readonly environment: Environment;
  readonly scenarios: readonly Scenario[];
  readonly asked: readonly string[];
  readonly seconds: number;
  readonly runs: number;
  readonly command: string;
  readonly screen: Screen;
  readonly stop: AbortSignal;
}

/** Runs the scenarios one after the other. What a broken one leaves out is said and does not stop the others. */
export const runBench = async (options: RunOptions): Promise<Results> => {
  const { environment, scenarios, asked, seconds, runs, screen, stop } = options;
  const beganMs = performance.now();
  const wrk = await wrkVersion();
  const about = { machine: machine(), versions: await versions(environment, wrk), at: new Date().toISOString() };
  const entries: Record<string, Entry> = {};
  const generators: Record<string, number> = {};
  const skipped: string[] = [];
  const broken: string[] = [];
  const skip = (text: string): void => {
    skipped.push(text);
    screen.say(`SKIPPED ${text}`);
  };
  if (wrk === undefined) skip("wrk: not installed, the bench's own generator sends instead (Debian: apt-get install wrk)");
  for (const scenario of scenarios) {
    const wanted = scenario.entries.filter((entry) => isAsked(asked, entry));
    const bench: Bench = {
      environment,
      seconds,
      runs,
      runSeconds: Math.max(1, Math.round(seconds / runs)),
      wrk,
      wants: (entry) => wanted.includes(entry),
      step: (text) => screen.step(text),
      skip,
      ceiling: (generator, perSecond) => (generators[generator] = Math.max(generators[generator] ?? 0, perSecond)),
      goOn: () => stop.throwIfAborted(),
    };
    // A load that is on its way ends at once; the scenario then ends its servers.
    const giveUp = (): void => void endChildren();
    stop.addEventListener("abort", giveUp, { once: true });
    try {
      bench.goOn();
      await scenario.run(bench, entries);
    } catch (error) {
      stop.throwIfAborted();
      const text = `${wanted.filter((entry) => entries[entry] === undefined).join(", ")}: ${(error as Error).message}`;
      broken.push(text);
      screen.say(`BROKEN ${text}`);
    } finally {
      stop.removeEventListener("abort", giveUp);
      await endChildren();
    }
    for (const _entry of wanted) screen.advance();
  }
  const tookSeconds = (performance.now() - beganMs) / 1_000;
  return { ...about, command: options.command, seconds, runs, tookSeconds, generators, scenarios: entries, skipped, broken };
};
