import { once } from "node:events";
import { Command, Option } from "commander";
import { isId, wallTimeFault } from "#protocol";
import { readConfig } from "#program";
import { signTicket, ticketKeys, type TicketKeys } from "../../gateway/index.ts";
import type { Environment } from "../local/index.ts";
import { wholeNumber } from "./option.ts";
import { readReadyFile } from "./ready-file.ts";

interface TicketsOptions {
  readonly readyFile: string;
  readonly sale: string;
  readonly uid?: string;
  readonly count?: number;
  readonly expiresIn: number;
}

/** Lines written at once: 100,000 tickets are 50 writes. */
const LINES_A_WRITE = 2_000;

/** @param text as DOORBUSTER_TICKET_KEYS takes it */
export const signingKeys = (text: string): TicketKeys =>
  ticketKeys(readConfig(["DOORBUSTER_TICKET_KEYS"], { DOORBUSTER_TICKET_KEYS: text }).DOORBUSTER_TICKET_KEYS);

const uidsOf = function* (options: TicketsOptions): Generator<string> {
  if (options.uid !== undefined) yield options.uid;
  for (let number = 1; number <= (options.count ?? 0); number += 1) yield `buyer-${number}`;
};

/** @returns false if nobody reads on (`tickets ... | head`) */
const print = async (lines: readonly string[]): Promise<boolean> => {
  try {
    if (!process.stdout.write(lines.join(""))) await once(process.stdout, "drain");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
  return process.stdout.writable;
};

const tickets = async (options: TicketsOptions): Promise<void> => {
  if ((options.uid === undefined) === (options.count === undefined)) throw new Error("give either --uid U or --count N");
  if (!isId(options.sale)) throw new Error(`--sale ${JSON.stringify(options.sale)} is not a sale id (A-Z a-z 0-9 _ -, at most 64)`);
  if (options.uid !== undefined && !isId(options.uid))
    throw new Error(`--uid ${JSON.stringify(options.uid)} is not a buyer id (A-Z a-z 0-9 _ -, at most 64)`);
  const keys = signingKeys((await readReadyFile(options.readyFile)).ticketKeys);
  const expiresAtMs = Date.now() + options.expiresIn * 1_000;
  const fault = wallTimeFault(expiresAtMs);
  if (fault !== undefined) throw new Error(`--expires-in ${options.expiresIn}: the end ${fault}`);
  let lines: string[] = [];
  // a reader that went away is noticed where it is written
  process.stdout.on("error", () => undefined);
  for (const uid of uidsOf(options)) {
    lines.push(`${JSON.stringify({ uid, ticket: signTicket(keys, { saleId: options.sale, uid, expiresAtMs }) })}\n`);
    if (lines.length < LINES_A_WRITE) continue;
    if (!(await print(lines))) return;
    lines = [];
  }
  await print(lines);
};

/** `doorbuster tickets` */
export const ticketsCommand = (_environment: Environment): Command =>
  new Command("tickets")
    .description("print tickets for a sale of a running stack, one JSON line each: {uid, ticket}")
    .requiredOption("--ready-file <file>", "written by start or demo")
    .requiredOption("--sale <id>", "the sale that the tickets are for")
    .addOption(new Option("--uid <id>", "one ticket, for this buyer"))
    .addOption(new Option("--count <n>", "tickets for buyer-1, buyer-2, ...").argParser(wholeNumber(1)))
    .option("--expires-in <s>", "how long they are good, in seconds", wholeNumber(1), 3_600)
    .action((options: TicketsOptions) => tickets(options));
