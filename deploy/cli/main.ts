#!/usr/bin/env node
import { Command } from "commander";
import { withSecrets } from "#program";
import type { Environment } from "../local/index.ts";
import { programCommand, PROGRAMS, type ProgramCommand } from "./program.ts";

type Make = (environment: Environment) => Command;

/** Loaded when it is asked for: all of them together take two seconds to load. */
const commands: Readonly<Record<string, () => Promise<Make>>> = {
  demo: async () => (await import("./demo.ts")).demoCommand,
  start: async () => (await import("./start.ts")).startCommand,
  load: async () => (await import("./load.ts")).loadCommand,
  tickets: async () => (await import("./tickets.ts")).ticketsCommand,
  audit: async () => (await import("./audit.ts")).auditCommand,
  shards: async () => (await import("./shards.ts")).shardsCommand,
  sale: async () => (await import("./sales.ts")).saleCommand,
  healthcheck: async () => (await import("./healthcheck.ts")).healthcheckCommand,
};

// oxlint-disable-next-line node/no-process-env -- the one place where the commands read their environment
const environment = (): Environment => withSecrets(process.env);

const name = process.argv[2] ?? "";
const asked = commands[name];
const program = new Command("doorbuster").description("a flash-sale engine").showHelpAfterError();

try {
  // A program reads its own settings and tells of all that is wrong with them together.
  for (const own of Object.keys(PROGRAMS) as ProgramCommand[]) if (asked === undefined) program.addCommand(programCommand(own));
  if (!(name in PROGRAMS))
    for (const load of asked === undefined ? Object.values(commands) : [asked]) program.addCommand((await load())(environment()));
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`doorbuster: ${(error as Error).message}\n`);
  // an error may say how the command ends
  process.exitCode = (error as { exitCode?: number }).exitCode ?? 1;
}
