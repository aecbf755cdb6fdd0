import type { Options } from "./options.ts";

/** A schedule that once broke a promise, as small as it could be made. */
export interface Case {
  readonly name: string;
  readonly options: Options;
}

export const CASES: readonly Case[] = [];
