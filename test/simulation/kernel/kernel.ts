import { Draw } from "../../harness/draw.ts";
import { Queue, Step } from "./queue.ts";

/** Told what happens, a line each, while a schedule is traced. */
export type Say = (atMs: number, line: string) => void;

/** What wall clocks show at the beginning of a schedule. */
export const BEGINNING_MS = 1_700_000_000_000;

/** Runs a function at a moment, whatever happens to the processes: stores and faults. */
class Plain extends Step {
  readonly #work: () => void;

  constructor(work: () => void) {
    super();
    this.#work = work;
  }

  override run(): boolean {
    this.#work();
    return true;
  }
}

/**
 * One simulated world's time. Everything that happens in it is a step of the queue; between two steps the promises that
 * the first one settled have run to their next wait. So a seed decides everything.
 */
export class Kernel {
  readonly draw: Draw;
  readonly #queue = new Queue();
  /** since the last jump: small integers are compared and kept several times faster than large ones */
  #nowUs = 0;
  #jumpedMs = 0;
  #strays: Step[] = [];
  /** steps done: a request arrives, an answer arrives, a time is up, a fault strikes */
  steps = 0;
  /** of everything that happened, in order: two runs of a seed are the same if theirs are */
  hash = 0x811c9dc5;
  /** the last step settled no promise and called no process: nothing has to run on before the next one */
  isQuiet = false;
  readonly say: Say | undefined;

  constructor(seed: number, say?: Say) {
    this.draw = new Draw(seed);
    this.say = say;
  }

  get nowMs(): number {
    return this.#jumpedMs + this.#nowUs / 1_000;
  }

  /** Plans a step; what should have been before is now. */
  plan(step: Step, atMs: number): void {
    this.#queue.push(step, Math.max(this.#nowUs, this.#us(atMs)));
  }

  /** Puts a step back that cannot happen yet; it keeps its place among those of the same moment. */
  defer(step: Step, atMs: number): void {
    // a time between two microseconds may be rounded down to now, and the step would be put back for ever
    this.#queue.defer(step, Math.max(this.#nowUs + 1, this.#us(atMs)));
  }

  /** A step that happens only after the next jump. */
  stray(step: Step): void {
    this.#strays.push(step);
  }

  /** Days pass in which nothing happens; soon after them comes what was on its way for so long. */
  jump(ms: number, withinMs: number): void {
    this.#jumpedMs += ms;
    const strays = this.#strays;
    this.#strays = [];
    for (const step of strays) this.plan(step, this.nowMs + this.draw.fraction() * withinMs);
  }

  /** Plans a step that belongs to no process. */
  at(atMs: number, work: () => void): void {
    this.plan(new Plain(work), atMs);
  }

  after(ms: number, work: () => void): void {
    this.at(this.nowMs + ms, work);
  }

  #us(atMs: number): number {
    return Math.ceil((atMs - this.#jumpedMs) * 1_000);
  }

  mix(value: number): void {
    this.hash = Math.imul(this.hash ^ value, 0x01000193);
  }

  /** @returns false if nothing is left to happen */
  step(): boolean {
    for (;;) {
      const step = this.#queue.pop();
      if (step === undefined) return false;
      this.#nowUs = step.atUs;
      this.isQuiet = false;
      if (!step.run()) continue;
      this.mix(step.order);
      this.mix(step.atUs);
      this.steps += 1;
      return true;
    }
  }
}
