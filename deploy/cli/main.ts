#!/usr/bin/env node
import { Command } from "commander";
import type { Environment } from "../local/index.ts";
import { auditCommand } from "./audit.ts";
import { demoCommand } from "./demo.ts";
import { startCommand } from "./start.ts";
import { ticketsCommand } from "./tickets.ts";

// oxlint-disable-next-line node/no-process-env -- the one place where the commands read their environment
const environment: Environment = process.env;

const program = new Command("doorbuster").description("a flash-sale engine").showHelpAfterError();
for (const command of [demoCommand, startCommand, ticketsCommand, auditCommand]) program.addCommand(command(environment));

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`doorbuster: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
