import { MultiBar, type SingleBar } from "cli-progress";
import type { Palette } from "./color.ts";

/** What the viewer sees while the crowd buys. */
interface Progress {
  /** buyers with a definite answer */
  readonly answered: number;
  readonly reserved: number;
  /** units that Postgres counts as sold */
  readonly confirmed: number;
  readonly decisionsPerSecond: number;
  /** units left in Redis; undefined while a store is away, null where no store is looked at */
  readonly left: number | undefined | null;
}

export interface Screen {
  say(line: string): void;
  /** shows bars from here on */
  begin(totals: { readonly buyers: number; readonly stock: number }): void;
  show(progress: Progress): void;
  /** takes the bars away again, leaving their last state */
  end(): void;
}

const PLAIN_EVERY_MS = 1_000;
const count = (value: number | undefined): string => (value === undefined ? "?" : value.toLocaleString("en-US"));

const liveLine = (progress: Progress): string =>
  `${count(progress.decisionsPerSecond)} decisions/s, ${progress.left === null ? "" : `left ${count(progress.left)}, `}reserved ${count(progress.reserved)}, confirmed ${count(progress.confirmed)}`;

/** For pipes and files: a line now and then. */
const plainScreen = (out: NodeJS.WriteStream): Screen => {
  let shownAt = 0;
  let last = "";
  let line = "";
  let buyers = 0;
  const print = (text: string): void => void out.write(`${text}\n`);
  const flush = (): void => {
    if (line !== last) print(line);
    last = line;
    shownAt = performance.now();
  };
  return {
    say: print,
    begin: (totals) => {
      buyers = totals.buyers;
      shownAt = performance.now();
    },
    show: (progress) => {
      line = `  answered ${count(progress.answered)} of ${count(buyers)} buyers, ${liveLine(progress)}`;
      if (performance.now() - shownAt >= PLAIN_EVERY_MS) flush();
    },
    end: flush,
  };
};

/** For a terminal: three bars and a line. */
const barScreen = (out: NodeJS.WriteStream, palette: Palette): Screen => {
  let bars: { readonly all: MultiBar; readonly list: readonly SingleBar[]; readonly live: SingleBar } | undefined;
  return {
    say: (line) => {
      if (bars === undefined) out.write(`${line}\n`);
      else bars.all.log(`${line}\n`);
    },
    begin: ({ buyers, stock }) => {
      const all = new MultiBar({
        format: `{name} ${palette.good("{bar}")} {shown} of {of}`,
        barCompleteChar: "█",
        barIncompleteChar: "░",
        barsize: 40,
        hideCursor: true,
        stopOnComplete: false,
        clearOnComplete: false,
        gracefulExit: false,
        fps: 10,
        stream: out,
      });
      const bar = (name: string, total: number): SingleBar => all.create(total, 0, { name: name.padEnd(16), shown: "0", of: count(total) });
      const list = [bar("buyers answered", buyers), bar("units reserved", stock), bar("orders confirmed", stock)];
      const live = all.create(1, 0, { line: "" }, { format: palette.strong("{line}") });
      bars = { all, list, live };
    },
    show: (progress) => {
      const values = [progress.answered, progress.reserved, progress.confirmed];
      for (const [index, value] of values.entries()) bars?.list[index]?.update(value, { shown: count(value) });
      bars?.live.update(0, { line: liveLine(progress) });
    },
    end: () => {
      bars?.all.update();
      bars?.all.stop();
      bars = undefined;
    },
  };
};

export const openScreen = (out: NodeJS.WriteStream, palette: Palette): Screen => (out.isTTY ? barScreen(out, palette) : plainScreen(out));
