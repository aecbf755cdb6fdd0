import { setTimeout as delay } from "node:timers/promises";
import { Argument, Command } from "commander";
import { allShardFactsSchema, ShardChange, shardFactsSchema, type ShardFacts } from "#protocol";
import type { Environment } from "../local/index.ts";
import { adminAddress, AdminRefusal, askAdmin, Exit, withAddress, type AddressOptions } from "./admin.ts";
import { paletteOf } from "./color.ts";
import { wholeNumber } from "./option.ts";
import { shardsText } from "./shards-text.ts";
import { stopSignal } from "./stop-signal.ts";

interface ShardsOptions extends AddressOptions {
  readonly json?: true;
  readonly watch?: true;
}

const WATCH_MS = 1_000;
const CLEAR_SCREEN = "\u001B[H\u001B[2J";

const print = (shards: readonly ShardFacts[], options: ShardsOptions, environment: Environment): void => {
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify(shards)}\n`);
    return;
  }
  const clear = options.watch === true && process.stdout.isTTY ? CLEAR_SCREEN : "";
  process.stdout.write(`${clear}${shardsText(shards, paletteOf(process.stdout, environment))}`);
};

const list = async (options: ShardsOptions, environment: Environment): Promise<void> => {
  const address = await adminAddress(options, environment);
  const look = (): Promise<readonly ShardFacts[]> => askAdmin(address, { method: "GET", path: "/shards" }, allShardFactsSchema);
  if (options.watch !== true) {
    print(await look(), options, environment);
    return;
  }
  const stop = stopSignal();
  while (!stop.aborted) {
    try {
      print(await look(), options, environment);
    } catch (error) {
      // who watches wants to see it come back
      if (!(error instanceof AdminRefusal) || error.exitCode !== Exit.unknown) throw error;
      process.stderr.write(`doorbuster: ${error.message}\n`);
    }
    await delay(WATCH_MS, undefined, { signal: stop }).catch(() => undefined);
  }
};

const change = async (
  shard: number,
  asked: { readonly change: ShardChange; readonly body?: unknown },
  options: ShardsOptions,
  environment: Environment,
): Promise<void> => {
  const address = await adminAddress(options, environment);
  const path = `/shards/${shard}/${asked.change}`;
  const facts = await askAdmin(address, { method: "POST", path, ...("body" in asked ? { body: asked.body } : {}) }, shardFactsSchema);
  print([facts], options, environment);
};

const explained: Readonly<Record<ShardChange, string>> = {
  drain: "move the shard's units away and put no new sale on it; when it is `drained`, its server can be stopped",
  undrain: "let the shard take units and sales again",
  retry: "take a halt away: what could not be applied is tried again, and halts the shard again if it still cannot",
  discard: "give up what the Redis of a shard that does not sell holds beyond Postgres, and rebuild it from Postgres",
};

/** `doorbuster shards` */
export const shardsCommand = (environment: Environment): Command => {
  const command = withAddress(new Command("shards"))
    .description("what every shard is about: state, epoch, lease holder, lag, units; exit 1 if refused, 3 if nobody answers")
    .option("--json", "one line of JSON instead of a table")
    .option("--watch", "again every second, until Ctrl-C")
    .action((options: ShardsOptions) => list(options, environment));
  for (const asked of Object.values(ShardChange)) {
    const sub = new Command(asked)
      .description(explained[asked])
      .addArgument(new Argument("<shard>", "its number").argParser(wholeNumber(0)));
    if (asked === ShardChange.discard)
      sub.requiredOption(
        "--lose-unconfirmed",
        "agree that reservations that are not in Postgres are lost, though buyers were answered that they have them",
      );
    sub.action((shard: number, _own: unknown, self: Command) =>
      change(
        shard,
        { change: asked, ...(asked === ShardChange.discard ? { body: { loseUnconfirmed: true } } : {}) },
        self.optsWithGlobals(),
        environment,
      ),
    );
    command.addCommand(sub);
  }
  return command;
};
