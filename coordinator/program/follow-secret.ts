import { unwatchFile, watchFile } from "node:fs";
import type { Log } from "./log.ts";

/** stat() of one small file; a mounted Secret is a link that Kubernetes turns to another folder, which stat() follows. */
const LOOK_EVERY_MS = 1_000;

export interface FollowOptions<Value> {
  /** NAME, for the log */
  readonly name: string;
  readonly file: string;
  /** what is in use */
  readonly current: Value;
  /** the value in the file. @throws if it is not valid: the former one stays */
  readonly read: () => Value;
  /** called with each value that is not the former one */
  readonly changed: (value: Value) => void;
  readonly log: Log;
  readonly stop: AbortSignal;
}

/** Follows a secret's file until `stop`. Neither the log nor an error ever shows the value. */
export const followSecret = <Value>({ name, file, current, read, changed, log, stop }: FollowOptions<Value>): void => {
  let seen = JSON.stringify(current);
  const look = (): void => {
    try {
      const value = read();
      const text = JSON.stringify(value);
      if (text !== seen) {
        changed(value);
        log.info({ variable: name, file }, "a secret was renewed from its file");
      }
      seen = text;
    } catch (error) {
      log.warn({ variable: name, file, err: (error as Error).message }, "a secret's file is not valid: the former secret stays");
    }
  };
  look();
  watchFile(file, { interval: LOOK_EVERY_MS, persistent: false }, look);
  stop.addEventListener("abort", () => unwatchFile(file, look), { once: true });
};
