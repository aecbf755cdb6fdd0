import { useCheapAbort } from "./kernel/abort.ts";
import type { Say } from "./kernel/kernel.ts";
import type { Options } from "./options.ts";
import { Schedule, type Result } from "./schedule.ts";
import type { Twins } from "./world.ts";

/**
 * Schedules that run side by side. Between two steps of one, all promises that it settled must have run on; waiting for
 * that takes a turn of the event loop, which many schedules share. They share nothing else, so each is what it would be
 * alone.
 */
const SIDE_BY_SIDE = 16;

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

export interface RunOptions {
  /** made for each schedule */
  readonly twins?: () => Twins;
  readonly say?: Say;
  readonly done: (result: Result) => void;
  readonly sideBySide?: number;
}

/** Runs schedules, `next` after `next`, until it gives no more. */
export const runSchedules = async (
  next: () => Options | undefined,
  { twins, say, done, sideBySide = SIDE_BY_SIDE }: RunOptions,
): Promise<void> => {
  useCheapAbort();
  const running: Schedule[] = [];
  const fill = (): void => {
    while (running.length < sideBySide) {
      const options = next();
      if (options === undefined) return;
      running.push(new Schedule(options, twins?.(), say));
    }
  };
  fill();
  while (running.length > 0) {
    await turn();
    for (let i = running.length - 1; i >= 0; i -= 1) {
      const schedule = running[i] as Schedule;
      if (schedule.step()) continue;
      done(schedule.result());
      running[i] = running.at(-1) as Schedule;
      running.pop();
    }
    if (running.length < sideBySide) fill();
  }
};

/** Runs one schedule. */
export const runSchedule = async (options: Options, twins?: () => Twins, say?: Say): Promise<Result> => {
  let result: Result | undefined;
  let given = false;
  await runSchedules(
    () => {
      if (given) return undefined;
      given = true;
      return options;
    },
    {
      ...(twins === undefined ? {} : { twins }),
      ...(say === undefined ? {} : { say }),
      done: (one) => {
        result = one;
      },
    },
  );
  if (result === undefined) throw new Error("the schedule has no result");
  return result;
};
