import type { Profile } from "../options.ts";
import { editedGateway, type Edit, type EditedGateway } from "./built-gateway.ts";
import { ARCHIVE } from "./archive-profiles.ts";
import { STOCK_MOVES } from "./profiles.ts";

const gateway =
  (file: Edit["file"]) =>
  (name: string, rule: string, from: string, to = "", profile?: Profile): EditedGateway =>
    editedGateway({ name: `composition: gateway's ${name}`, rule, ...(profile === undefined ? {} : { profile }) }, { file, from, to });
const service = gateway("compose");
const shard = gateway("shard-queues");
const orderStates = gateway("order-states");

/** The gateway's composition without one of its parts, each a line of what ships. */
export const COMPOSITION_MUTATIONS: readonly EditedGateway[] = [
  service("status feed", "the service hears the workers", "ports.followStatus({", "((_listener) => () => undefined)({"),
  service("who waits hears", "an event answers those who wait", "waiting.onStatus(event);"),
  service("who watches hears", "an event is pushed to those who watch", "watching.onStatus(event);"),
  service("events for who waits", "events are read while somebody waits", "waiting.isListening || !watching.isEmpty", "!watching.isEmpty"),
  service(
    "events for who will wait",
    "events are read while a purchase is on its way that will be waited for",
    "const isHere = waiting.expect();",
    "const isHere = () => undefined;",
  ),
  service(
    "events for who watches",
    "events are read while somebody watches",
    "waiting.isListening || !watching.isEmpty",
    "waiting.isListening",
  ),
  service(
    "who watches is waited for",
    "a lost event is made up for those who watch, too",
    "if (orderId === undefined || !watching.isWatched(saleId, uid))",
    "if (orderId !== null)",
  ),
  service("tick", "the tick runs", 'every({ name: "tick", everyMs: policy.tickMs, isNeeded: isHolding }, tick),'),
  service("shards' tick", "time-outs of the shards are looked at", "shard.tick(nowMs);", ";"),
  service("waiting's tick", "who waits is asked about again", "waiting.tick(nowMs);"),
  service(
    "sold-out poll",
    "the flags are asked for",
    'every({ name: "sold-out poll", everyMs: policy.soldOutPollMs, isNeeded: always }, poll),',
    "",
    STOCK_MOVES,
  ),
  service(
    "winners load",
    "the winners are read",
    'every({ name: "winners load", everyMs: policy.winnersLoadMs, isNeeded: always }, load),',
    "",
    STOCK_MOVES,
  ),
  service(
    "sale search",
    "an unknown sale is looked for",
    "const search = new SaleSearch(searching);",
    'const search = { find: (_id, done) => done("none") };',
  ),
  service("sale feed", "the sales are followed", "ports.followSales(book, onLoaded, ended.signal)", "undefined"),
  service("ready", "a service that knows the sales is ready", "isLoaded = true;"),
  shard(
    "dry line",
    "who comes to a dry shard waits for units",
    "hold: (saleId, packed, onOutcome, left) => this.#dry.hold(saleId, packed, onOutcome, left),",
    'hold: (_saleId, _packed, onOutcome) => onOutcome({ code: "units_moving" }),',
    STOCK_MOVES,
  ),
  shard(
    "dry hint",
    "the coordinators are told of a dry shard",
    "hint: (saleId, units) => ports.hintDry(shard, { saleId, units }),",
    "hint: () => undefined,",
    STOCK_MOVES,
  ),
  shard("dry line's tick", "who waits for units is answered", "this.#dry.tick(nowMs);", "", STOCK_MOVES),
  shard("purchases' tick", "purchases are answered in time", "this.purchases.tick(nowMs);"),
  shard("standings' tick", "questions are answered in time", "this.standings.tick(nowMs);"),
  shard(
    "dry shard of several",
    "a shard of several does not know that the sale is sold out",
    "book.get(saleId)?.record.shards.length ?? 1",
    "1",
  ),
  orderStates("end of belief", "an order's state is believed for a second", "nowMs < known.untilMs", "nowMs > 0", ARCHIVE),
];
