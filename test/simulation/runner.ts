import { useCheapAbort } from "./kernel/abort.ts";
import type { Say } from "./kernel/kernel.ts";
import { MessageWorld } from "./messages/world.ts";
import type { Plan, Result, Running } from "./result.ts";
import { Schedule } from "./schedule.ts";
import type { Twins } from "./world.ts";

const begin = (options: Plan, twins: Twins | undefined, say: Say | undefined): Running =>
  "scene" in options ? new MessageWorld(options, twins?.messages, say) : new Schedule(options, twins, say);

/** Runs `then` when every promise that can run on has run on, without a turn of the event loop. */
const afterPromises = (then: () => void): void => queueMicrotask(() => process.nextTick(then));

/** After so many steps the event loop has a turn, for timers and signals. */
const STEPS_A_TURN = 1_000;

export interface RunOptions {
  /** made for each schedule */
  readonly twins?: () => Twins;
  readonly say?: Say;
  readonly done: (result: Result) => void;
}

/** Runs one schedule to its end. */
const runOne = (schedule: Running): Promise<Result> =>
  new Promise((resolve, reject) => {
    let steps = 0;
    const next = (): void => {
      try {
        if (!schedule.step()) resolve(schedule.result());
        else if (++steps % STEPS_A_TURN === 0) setImmediate(next);
        else afterPromises(next);
      } catch (error) {
        reject(error);
      }
    };
    setImmediate(next);
  });

/** Runs schedules, `next` after `next`, until it gives no more. */
export const runSchedules = async (next: () => Plan | undefined, { twins, say, done }: RunOptions): Promise<void> => {
  useCheapAbort();
  for (let options = next(); options !== undefined; options = next()) done(await runOne(begin(options, twins?.(), say)));
};

/** Runs one schedule. */
export const runSchedule = (options: Plan, twins?: () => Twins, say?: Say): Promise<Result> => {
  useCheapAbort();
  return runOne(begin(options, twins?.(), say));
};
