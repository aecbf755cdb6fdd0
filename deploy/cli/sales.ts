import { randomBytes } from "node:crypto";
import Table from "cli-table3";
import { Argument, Command, InvalidArgumentError } from "commander";
import { z } from "zod";
import {
  beginningOf,
  isId,
  isoTime,
  isReadable,
  listedSalesSchema,
  saleRecordSchema,
  SaleState,
  type ListedSale,
  type SaleRecord,
} from "#protocol";
import type { Environment } from "../local/index.ts";
import { adminAddress, askAdmin, withAddress, type AddressOptions } from "./admin.ts";
import { NO_INNER_LINES, paletteOf, type Palette } from "./color.ts";
import { durationOf, momentOf } from "./moment.ts";
import { wholeNumber } from "./option.ts";

interface SaleOptions extends AddressOptions {
  readonly json?: true;
}

interface OpenOptions extends SaleOptions {
  readonly title?: string;
  readonly units: number;
  readonly opens: number;
  readonly closes: number;
  readonly priceMinor: number;
  readonly currency: string;
  readonly limit: number;
  readonly payWithin?: number;
  readonly campaign: string;
  readonly shards?: number;
}

interface ListOptions extends SaleOptions {
  readonly archived?: true;
}

interface AddOptions extends SaleOptions {
  readonly units: number;
  readonly grant?: string;
}

/** Of an id that is none. */
const ID_CHARS_MOST = 64;

const idOf = (text: string): string => {
  if (!isId(text)) throw new InvalidArgumentError("It must be an id: A-Z a-z 0-9 _ -, at most 64.");
  return text;
};
const saleId = (): Argument => new Argument("<id>", "the sale's id").argParser(idOf);

/** A number of which no date can be made is shown as it is. */
const iso = (ms: number): string => isoTime(ms)?.replace(/\.000Z$/, "Z") ?? String(ms);

const UNREADABLE = "unreadable";

const salesText = (sales: readonly ListedSale[], palette: Palette): string => {
  const table = new Table({
    head: ["sale", "campaign", "state", "units", "limit", "opens", "closes", "shards"],
    colAligns: ["left", "left", "left", "right", "right", "left", "left", "left"],
    style: palette.table,
    ...(sales.length > 3 ? { chars: NO_INNER_LINES } : {}),
  });
  for (const sale of sales) {
    if (!isReadable(sale)) {
      table.push([beginningOf(sale.id, ID_CHARS_MOST), "", palette.warning(UNREADABLE), "", "", "", "", ""]);
      continue;
    }
    table.push([
      sale.id,
      sale.campaign,
      sale.state === SaleState.open ? palette.good(sale.state) : palette.warning(sale.state),
      sale.totalUnits.toLocaleString("en-US"),
      String(sale.limitPerBuyer),
      iso(sale.opensAtMs),
      iso(sale.closesAtMs),
      sale.shards.join(","),
    ]);
  }
  return `${table.toString()}\n`;
};

const print = (answer: SaleRecord | readonly ListedSale[], options: SaleOptions, environment: Environment): void => {
  const sales = "id" in answer ? [answer] : answer;
  for (const sale of sales)
    if (!isReadable(sale))
      process.stderr.write(`doorbuster: the record of sale ${JSON.stringify(sale.id)} cannot be read: ${sale.problem}\n`);
  process.stdout.write(options.json === true ? `${JSON.stringify(answer)}\n` : salesText(sales, paletteOf(process.stdout, environment)));
};

/** Asks for one thing and prints the sale, or the sales, as they are then. */
const ask = async (
  request: { readonly method: "GET" | "POST"; readonly path: string; readonly body?: unknown },
  options: SaleOptions,
  environment: Environment,
): Promise<void> => {
  const schema = z.union([saleRecordSchema, listedSalesSchema]);
  print(await askAdmin(await adminAddress(options, environment), request, schema), options, environment);
};

const stateCommand = (name: string, state: SaleState, description: string, environment: Environment): Command =>
  new Command(name)
    .description(description)
    .addArgument(saleId())
    .action((id: string, _own: unknown, self: Command) =>
      ask({ method: "POST", path: `/sales/${id}/state`, body: { state } }, self.optsWithGlobals(), environment),
    );

const openCommand = (environment: Environment): Command => {
  const moment = momentOf(() => Date.now());
  return new Command("open")
    .description("put a sale on sale; the same again is the same sale, another one under its id is refused")
    .addArgument(saleId())
    .requiredOption("--units <n>", "units on sale", wholeNumber(1))
    .option("--title <text>", "what buyers see; the id if left out")
    .option("--opens <moment>", "`now`, `+10m` or ISO 8601", moment, Date.now())
    .requiredOption("--closes <moment>", "`+2h` or ISO 8601", moment)
    .option("--limit <n>", "most units of one buyer", wholeNumber(1), 1)
    .option("--pay-within <time>", "an order not paid in time expires, like `15m` (what is taken if left out); 0: never", durationOf)
    .option("--price-minor <n>", "price in the currency's smallest unit", wholeNumber(0), 0)
    .option("--currency <code>", "ISO 4217", "CNY")
    .option("--shards <n>", "shards to deal the units to; by the number of units if left out", wholeNumber(1))
    .option("--campaign <id>", "a name that several sales share", idOf, "default")
    .action((id: string, own: OpenOptions, self: Command) =>
      ask(
        {
          method: "POST",
          path: "/sales",
          body: {
            id,
            campaign: own.campaign,
            title: own.title ?? id,
            units: own.units,
            priceMinor: own.priceMinor,
            currency: own.currency,
            opensAtMs: own.opens,
            closesAtMs: own.closes,
            limitPerBuyer: own.limit,
            ...(own.payWithin === undefined ? {} : { payWithinMs: own.payWithin }),
            ...(own.shards === undefined ? {} : { shardCount: own.shards }),
          },
        },
        self.optsWithGlobals(),
        environment,
      ),
    );
};

const addCommand = (environment: Environment): Command =>
  new Command("add")
    .description("add stock to a sale")
    .addArgument(saleId())
    .requiredOption("--units <n>", "units more", wholeNumber(1))
    .option("--grant <id>", "names the addition: the same again is done once; a new name if left out", idOf)
    .action(async (id: string, own: AddOptions, self: Command) => {
      const grantId = own.grant ?? `added-${randomBytes(6).toString("hex")}`;
      try {
        await ask({ method: "POST", path: `/sales/${id}/units`, body: { grantId, units: own.units } }, self.optsWithGlobals(), environment);
      } catch (error) {
        // with this name a repeat cannot add twice
        (error as Error).message += `; to repeat it, add --grant ${grantId}`;
        throw error;
      }
    });

/** `doorbuster sale` */
export const saleCommand = (environment: Environment): Command =>
  withAddress(new Command("sale"))
    .description("open, show, pause, resume, close, archive sales and add stock; exit 1 if refused, 3 if nobody answers")
    .option("--json", "JSON instead of a table")
    .addCommand(openCommand(environment))
    .addCommand(
      new Command("show")
        .description("one sale")
        .addArgument(saleId())
        .action((id: string, _own: unknown, self: Command) =>
          ask({ method: "GET", path: `/sales/${id}` }, self.optsWithGlobals(), environment),
        ),
    )
    .addCommand(
      new Command("list")
        .description("every sale that is not archived, the newest last")
        .option("--archived", "with the thousand archived sales that were opened last")
        .action((own: ListOptions, self: Command) =>
          ask({ method: "GET", path: own.archived === true ? "/sales?archived=true" : "/sales" }, self.optsWithGlobals(), environment),
        ),
    )
    .addCommand(stateCommand("pause", SaleState.paused, "buyers hear `paused` until it is resumed", environment))
    .addCommand(stateCommand("resume", SaleState.open, "sells on", environment))
    .addCommand(stateCommand("close", SaleState.closed, "ends it for good", environment))
    .addCommand(
      stateCommand(
        "archive",
        SaleState.archived,
        "takes a sale that is over out of Redis; its buyers are answered from Postgres",
        environment,
      ),
    )
    .addCommand(addCommand(environment));
