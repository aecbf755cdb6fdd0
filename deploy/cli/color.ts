import { styleText } from "node:util";

export type Paint = (text: string) => string;

/** Colours of a text: none where it goes to a file or a pipe, or NO_COLOR asks for none. */
export interface Palette {
  readonly good: Paint;
  readonly bad: Paint;
  readonly warning: Paint;
  readonly quiet: Paint;
  readonly strong: Paint;
  /** for cli-table3 */
  readonly table: { readonly head: string[]; readonly border: string[] };
}

type Style = Parameters<typeof styleText>[0];

export const paletteOf = (
  out: { readonly isTTY?: boolean | undefined },
  environment: Readonly<Record<string, string | undefined>>,
): Palette => {
  const isColored = out.isTTY === true && (environment["NO_COLOR"] ?? "") === "";
  const paint =
    (style: Style): Paint =>
    (text) =>
      isColored ? styleText(style, text) : text;
  return {
    good: paint("green"),
    bad: paint("red"),
    warning: paint("yellow"),
    quiet: paint("gray"),
    strong: paint("bold"),
    table: isColored ? { head: ["bold"], border: ["gray"] } : { head: [], border: [] },
  };
};

/** For cli-table3: only the outer frame, so that a table of twenty rows fits on a screen. */
export const NO_INNER_LINES = { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" };
