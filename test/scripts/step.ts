import * as fc from "fast-check";
import type { ScriptRedis } from "#lua";
import { outcomeOf, type Lockstep, type Outcome } from "./lockstep.ts";

/** Does something to the model and asks the server for the same. */
export type Act<Model, Params> = (model: Model, lockstep: Lockstep, params: Params) => void | Promise<void>;

/** One command of a sequence, which says how it is spelled when the sequence fails. */
class Step<Model extends object, Params> implements fc.AsyncCommand<Model, Lockstep> {
  readonly #name: string;
  readonly #params: Params;
  readonly #act: Act<Model, Params>;

  constructor(name: string, params: Params, act: Act<Model, Params>) {
    this.#name = name;
    this.#params = params;
    this.#act = act;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, lockstep: Lockstep): Promise<void> {
    await this.#act(model, lockstep, this.#params);
  }

  toString(): string {
    return `${this.#name}(${fc.stringify(this.#params)})`;
  }
}

export type Steps<Model extends object> = fc.Arbitrary<fc.AsyncCommand<Model, Lockstep>>;

/** Steps of one kind, with parameters as drawn. */
export const steps = <Model extends object, Params>(name: string, params: fc.Arbitrary<Params>, act: Act<Model, Params>): Steps<Model> =>
  params.map((drawn) => new Step(name, drawn, act));

/** Sequences in which each kind comes as often as its weight says. */
export const sequences = <Model extends object>(
  weighed: readonly (readonly [weight: number, steps: Steps<Model>])[],
  maxCommands: number,
): fc.Arbitrary<Iterable<fc.AsyncCommand<Model, Lockstep>>> =>
  fc.commands(
    weighed.flatMap(([weight, steps]) => Array.from({ length: weight }, () => steps)),
    { maxCommands, size: "max" },
  );

/** `right` six times in seven. */
export const mostly = <T>(right: T, ...wrong: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(right) }, { weight: 1, arbitrary: fc.constantFrom(...wrong) });

export interface Question {
  /** name of the script, without `.lua` */
  readonly script: string;
  readonly request: unknown;
  readonly send: (redis: ScriptRedis) => Promise<unknown>;
  /** what the model answers or throws */
  readonly answer: () => unknown;
}

const OOM: Outcome = { error: "OOM" };

/** Asks both. A full server refuses what takes memory before it runs, with an error unless the script has an answer for it. */
export const asker =
  (takesMemory: ReadonlySet<string>, isPrimary: () => boolean, refused: Readonly<Record<string, unknown>> = {}) =>
  (lockstep: Lockstep, { script, request, send, answer }: Question): void => {
    const isRefused = lockstep.isFull && isPrimary() && takesMemory.has(script);
    const whenFull = (): Outcome => (Object.hasOwn(refused, script) ? { value: refused[script] } : OOM);
    lockstep.ask(`${script} ${JSON.stringify(request)}`, send, isRefused ? whenFull() : outcomeOf(answer));
  };
