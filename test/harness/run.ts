import { beginRun, findOrInstall, Store, type Binaries, type Run } from "../../deploy/local/index.ts";

/** The tests' own environment: where servers are looked for. */
// oxlint-disable-next-line node/no-process-env -- a test process has no other configuration
export const environment = process.env;

let begun: Promise<Run> | undefined;
let users = 0;

/**
 * One run a test process, begun by its first server and ended with its last one, so that a file that stops all it
 * started leaves nothing; the reaper covers a process that is killed.
 */
export const joinRun = async (): Promise<Run> => {
  users += 1;
  begun ??= beginRun({ environment, say: () => undefined });
  return begun;
};

/** The counterpart of joinRun. */
export const leaveRun = async (): Promise<void> => {
  users -= 1;
  if (users > 0) return;
  // Taken before anything is awaited: whoever joins meanwhile begins a run of their own.
  const last = begun;
  begun = undefined;
  await (await last)?.end();
};

let found: Promise<Binaries> | undefined;

/** Where the servers' programs are; installs what is missing, as `npm start` does. */
export const binaries = (): Promise<Binaries> =>
  (found ??= findOrInstall(Object.values(Store), { path: environment["PATH"] }, (line) => console.error(line)));
