import { InvalidArgumentError } from "commander";

/** Reads a command-line option that is a whole number from `least` to `most`. */
export const wholeNumber =
  (least: number, most = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`It must be a whole number of at least ${least}.`);
    if (value > most) throw new InvalidArgumentError(`It must be at most ${most}.`);
    return value;
  };
