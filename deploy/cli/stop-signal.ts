/** npm passes a Ctrl-C on that the terminal has sent already: only a later one is a second one. */
const SECOND_AFTER_MS = 1_000;

/**
 * Aborted when the user wants an end: Ctrl-C, SIGTERM, the terminal closed, or nobody reads our output any more. A
 * second Ctrl-C ends this process at once; the reaper then ends the rest.
 */
export const stopSignal = (): AbortSignal => {
  const controller = new AbortController();
  let stoppedAt = Number.POSITIVE_INFINITY;
  const stop = (name: NodeJS.Signals): void => {
    if (name === "SIGINT" && performance.now() - stoppedAt > SECOND_AFTER_MS) process.kill(process.pid, "SIGKILL");
    if (controller.signal.aborted) return;
    stoppedAt = performance.now();
    controller.abort(new Error(`stopped by ${name}`));
  };
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => stop(name));
  process.stdout.on("error", () => stop("SIGHUP"));
  process.stderr.on("error", () => stop("SIGHUP"));
  return controller.signal;
};
