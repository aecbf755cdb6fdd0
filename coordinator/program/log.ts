import { pino, type Logger } from "pino";

export type Log = Logger;

/** JSON lines on standard output, each with the program, the run and the process id. */
export const createLog = (program: string, config: { readonly DOORBUSTER_LOG_LEVEL: string; readonly DOORBUSTER_RUN: string }): Log =>
  pino(
    { level: config.DOORBUSTER_LOG_LEVEL, base: { program, run: config.DOORBUSTER_RUN, pid: process.pid } },
    pino.destination({ dest: 1, sync: true }),
  );
