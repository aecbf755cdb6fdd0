import { SingleBar } from "cli-progress";
import type { Palette } from "../deploy/cli/color.ts";

/** What the user sees while the bench runs: on a terminal a bar, into a pipe a line for each step. */
export interface Screen {
  say(line: string): void;
  step(text: string): void;
  /** an entry is done */
  advance(): void;
  end(): void;
}

const plainScreen = (out: NodeJS.WriteStream): Screen => {
  const say = (line: string): void => void out.write(`${line}\n`);
  return { say, step: (text) => say(`  ${text}`), advance: () => undefined, end: () => undefined };
};

const barScreen = (out: NodeJS.WriteStream, palette: Palette, entries: number): Screen => {
  const bar = new SingleBar({
    format: `${palette.good("{bar}")} {value}/{total} entries  {duration_formatted}  ${palette.quiet("{step}")}`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 30,
    hideCursor: true,
    clearOnComplete: true,
    stopOnComplete: false,
    gracefulExit: false,
    fps: 5,
    stream: out,
  });
  let isOn = false;
  const show = (): void => {
    if (!isOn) bar.start(entries, 0, { step: "" });
    isOn = true;
  };
  return {
    say: (line) => {
      // The bar takes its last line with it.
      if (isOn) out.write("\r\u001B[2K");
      out.write(`${line}\n`);
    },
    step: (text) => {
      show();
      bar.update({ step: text.slice(0, Math.max(20, (out.columns ?? 120) - 60)) });
    },
    advance: () => {
      show();
      bar.increment();
    },
    end: () => {
      if (isOn) bar.stop();
      isOn = false;
    },
  };
};

export const openScreen = (out: NodeJS.WriteStream, palette: Palette, entries: number): Screen =>
  out.isTTY ? barScreen(out, palette, entries) : plainScreen(out);
