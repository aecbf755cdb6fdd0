import type { Redis } from "ioredis";
import { until } from "../harness/index.ts";
import { CLOCK_KEY, DUMP } from "./key-space.ts";

/** Which of the arguments of what a script calls are keys. */
const keysOf = (command: readonly string[]): readonly string[] => {
  const [name = "", ...args] = command;
  switch (name.toLowerCase()) {
    case "info":
    case "time":
      return [];
    case "mget":
    case "del":
    case "unlink":
    case "exists":
      return args;
    case "rename":
      return args.slice(0, 2);
    case "xinfo":
      return args.slice(1, 2);
    default:
      return args.slice(0, 1);
  }
};

export interface Watch {
  /** scripts seen, and keys that one of them touched without having been given them */
  end(): Promise<{ readonly scripts: number; readonly undeclared: ReadonlySet<string> }>;
}

/** Looks over MONITOR at every key that a script touches. Redis itself refuses undeclared ones in cluster mode only. */
export const watchKeys = async (redis: Redis): Promise<Watch> => {
  const monitor = await redis.duplicate().monitor();
  const undeclared = new Set<string>();
  let declared: ReadonlySet<string> | undefined;
  let scripts = 0;
  let isPast = false;
  monitor.on("monitor", (_time: string, command: string[], source: string) => {
    if (source === "lua") {
      if (declared === undefined) return;
      for (const key of keysOf(command)) if (key !== CLOCK_KEY && !declared.has(key)) undeclared.add(command.join(" "));
      return;
    }
    const [name = "", script = "", count = "0", ...rest] = command;
    // Redis feeds a script's own command before what the script calls
    const isScript = name.toLowerCase() === "evalsha" || (name.toLowerCase() === "eval" && script !== DUMP);
    declared = isScript ? new Set(rest.slice(0, Number(count))) : undefined;
    if (isScript) scripts += 1;
    isPast ||= name.toLowerCase() === "echo" && script === "end of the watch";
  });
  return {
    end: async () => {
      await redis.echo("end of the watch");
      await until(() => isPast, "MONITOR to be past the last script");
      monitor.disconnect();
      return { scripts, undeclared };
    },
  };
};
