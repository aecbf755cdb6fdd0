import { fileURLToPath } from "node:url";
import { Command } from "commander";

/** The programs that this package has, by the command that runs each, as they lie beside this one's folder when compiled. */
export const PROGRAMS = {
  gateway: { file: "../../gateway/main.js", does: "serves buyers, with a process for each core" },
  coordinator: { file: "../../coordinator/main.js", does: "holds shards' leases, appends their outboxes to the log, serves messages" },
  workers: { file: "../../workers/main.js", does: "apply the log to Postgres, with a process for each core" },
  migrate: { file: "../../workers/migrate.js", does: "brings the database to this version's tables and ends; first, once a release" },
} as const;
export type ProgramCommand = keyof typeof PROGRAMS;

/**
 * Runs a program in this process, which then is what `node <its file>` would be. It forks the file that it was started with
 * (node:cluster takes `process.argv[1]`), so that has to be the program's own and not this command line's. Resolves when it has ended.
 */
const run = async (name: ProgramCommand): Promise<void> => {
  const url = new URL(PROGRAMS[name].file, import.meta.url);
  process.argv.splice(1, process.argv.length - 1, fileURLToPath(url));
  await import(url.href);
};

export const programCommand = (name: ProgramCommand): Command =>
  new Command(name).description(`${PROGRAMS[name].does}; every setting is an environment variable (.env.example)`).action(() => run(name));
