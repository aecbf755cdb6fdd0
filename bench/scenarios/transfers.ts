import { setTimeout as delay } from "node:timers/promises";
import { KnownSale, signTicket } from "../../gateway/index.ts";
import { keysOf } from "../load/prepared-requests.ts";
import { generate } from "../load/generator.ts";
import { answersOf } from "../load/order.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { saleRecord } from "../servers/front.ts";
import { startWhole, type Whole } from "../servers/whole.ts";

/** How often units have to be moved between shards: buyers evenly spread, and four of five at home on one shard. */
const ENTRY = "scale.transfers";
const SHARDS = 4;
const UNITS = 20_000;
const BUYERS = 30_000;
/** Every fifth buyer comes from anywhere; the others belong to the first shard. */
const ANYWHERE = 5;
const CONNECTIONS = 128;
const PATIENCE_S = 30;
/** Who hears units_moving comes again after its Retry-After. */
const AGAIN_MS = 1_000;
const MOST_ROUNDS = 20;
const DAY_MS = 86_400_000;

/** Paths of buyers in the order in which they come. */
const crowdOf = (whole: Whole, saleId: string, isSkewed: boolean): string[] => {
  const keys = keysOf(whole.ticketKeys);
  const expiresAtMs = Date.now() + DAY_MS;
  const shards = Array.from({ length: SHARDS }, (_, shard) => shard);
  const sale = new KnownSale(saleRecord(saleId, UNITS, shards));
  const paths: string[] = [];
  for (let number = 0; paths.length < BUYERS; number += 1) {
    const uid = `b${number}`;
    if (isSkewed && number % ANYWHERE > 0 && sale.shardOf(uid) !== 0) continue;
    paths.push(`/buy/${signTicket(keys, { saleId, uid, expiresAtMs })}`);
  }
  return paths;
};

interface Sold {
  readonly transfers: number;
  readonly rounds: number;
  readonly seconds: number;
  /** answers of the first round that asked to come again */
  readonly comeAgain: number;
}

/** Everybody asks, and those who have no final answer ask again, until the last unit is stored. */
const sellAll = async (bench: Bench, whole: Whole, isSkewed: boolean): Promise<Sold> => {
  const saleId = isSkewed ? "skewed" : "even";
  await whole.openSale(saleId, UNITS, SHARDS);
  const requests = { kind: "paths", paths: crowdOf(whole, saleId, isSkewed) } as const;
  const { host, port } = whole;
  const load = { connections: CONNECTIONS, pipelining: 1, warmUpMs: 0, measureMs: PATIENCE_S * 1_000, perSecond: 0 };
  const order = { host, port, requests, ...load, countsAgain: true };
  const beganAtMs = performance.now();
  let comeAgain = 0;
  for (let round = 1; round <= MOST_ROUNDS; round += 1) {
    bench.step(`${saleId}: round ${round}`);
    bench.goOn();
    const { result } = await generate(order, {});
    if (answersOf(result) < BUYERS) throw new Error(`${BUYERS - answersOf(result)} buyers had no answer`);
    const later = Object.entries(result.answered).reduce((sum, [status, count]) => sum + (status.endsWith(" again") ? count : 0), 0);
    if (round === 1) comeAgain = later;
    if (later === 0) {
      await whole.untilSold(saleId, UNITS);
      const seconds = (performance.now() - beganAtMs) / 1_000;
      return { transfers: await whole.transfers(saleId), rounds: round, seconds, comeAgain };
    }
    await delay(AGAIN_MS);
  }
  throw new Error(`after ${MOST_ROUNDS} rounds ${UNITS - (await whole.sold(saleId))} units are left and buyers are told to come again`);
};

const perThousand = ({ transfers }: Sold): number => Math.round((transfers / UNITS) * 1e5) / 100;

const measure = async (bench: Bench, whole: Whole): Promise<Entry> => {
  const even = await sellAll(bench, whole, false);
  const skewed = await sellAll(bench, whole, true);
  return entryOf({
    what: `${BUYERS.toLocaleString("en-US")} buyers, ${UNITS.toLocaleString("en-US")} units dealt to ${SHARDS} shards, four of five buyers at home on one of them`,
    unit: "orders",
    perSecond: UNITS / skewed.seconds,
    generator: "bench/load/generator-main.js",
    durability: "Redis appendfsync always; every order in Postgres",
    numbers: {
      transfersPer1000UnitsSkewed: perThousand(skewed),
      transfersPer1000UnitsEven: perThousand(even),
      transfersSkewed: skewed.transfers,
      transfersEven: even.transfers,
      toldToComeAgainSkewed: skewed.comeAgain,
      toldToComeAgainEven: even.comeAgain,
      roundsSkewed: skewed.rounds,
      roundsEven: even.rounds,
    },
    notes: ["the rate has the seconds in it that buyers wait before they come again"],
  });
};

export const transfers: Scenario = {
  entries: [ENTRY],
  run: async (bench, entries) => {
    const whole = await startWhole(bench, { shards: SHARDS });
    try {
      entries[ENTRY] = await measure(bench, whole);
    } finally {
      await whole.stop();
    }
  },
};
