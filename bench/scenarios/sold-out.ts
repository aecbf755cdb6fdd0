import { setTimeout as delay } from "node:timers/promises";
import { addresses, requestText } from "../load/prepared-requests.ts";
import { entryOf, type Entry } from "../results.ts";
import type { Bench, Scenario } from "../scenario.ts";
import { rawAnswer, statusOf } from "../servers/answer-bytes.ts";
import { startWhole, type Whole } from "../servers/whole.ts";
import { median } from "../statistics.ts";
import { newBuyers } from "./buyers.ts";

/** How fast the news that a sale is sold out reaches every gateway process, and how fast it is withdrawn when a unit comes back. */
const ENTRY = "scale.soldOut";
const SALE = "sold-out";
const SHARDS = 4;
const UNITS = 8;
const CYCLES = 12;
const ASK_EVERY_MS = 5;
const BUY_AGAIN_MS = 50;
/** New connections that agree, one after the other: the kernel deals them to the processes, so that none is missed. */
const AGREEING = 16;
const PATIENCE_MS = 30_000;

const shows = async (whole: Whole): Promise<boolean> =>
  (await rawAnswer(whole.port, requestText("GET", `/sales/${SALE}`, whole.host))).includes('"soldOut":true');

/** @returns ms from `sinceMs` until the last answer that said the opposite */
const untilAllShow = async (bench: Bench, whole: Whole, isSoldOut: boolean, sinceMs: number): Promise<number> => {
  let lastOtherMs = sinceMs;
  for (let agreeing = 0; agreeing < AGREEING;) {
    bench.goOn();
    if ((await shows(whole)) === isSoldOut) agreeing += 1;
    else {
      agreeing = 0;
      lastOtherMs = performance.now();
      if (lastOtherMs - sinceMs > PATIENCE_MS) throw new Error(`the gateways do not agree that sold out is ${isSoldOut}`);
    }
    await delay(ASK_EVERY_MS);
  }
  return lastOtherMs - sinceMs;
};

/** A new buyer asks until there is a unit, wherever it is. */
const buyOne = async (bench: Bench, whole: Whole): Promise<void> => {
  const { keys, saleId, prefix, count } = newBuyers(whole.ticketKeys, SALE, 1);
  const [ticket = ""] = addresses({ keys, saleId, prefix, count });
  const text = requestText("POST", `/buy/${ticket}`, whole.host);
  while (statusOf(await rawAnswer(whole.port, text)) !== 202) {
    bench.goOn();
    await delay(BUY_AGAIN_MS);
  }
};

const addOne = async ({ info }: Whole, cycle: number): Promise<void> => {
  const response = await fetch(`${info.admin}/sales/${SALE}/units`, {
    method: "POST",
    headers: { authorization: `Bearer ${info.adminToken}`, "content-type": "application/json" },
    body: JSON.stringify({ grantId: `cycle-${cycle}`, units: 1 }),
  });
  if (!response.ok) throw new Error(`a unit was not added: ${await response.text()}`);
};

const measure = async (bench: Bench, whole: Whole): Promise<Entry> => {
  await whole.openSale(SALE, UNITS, SHARDS);
  for (let unit = 0; unit < UNITS; unit += 1) await buyOne(bench, whole);
  const shown = [await untilAllShow(bench, whole, true, performance.now())];
  const withdrawn: number[] = [];
  const bought: number[] = [];
  for (let cycle = 0; cycle < CYCLES; cycle += 1) {
    bench.step(`a unit comes back: ${cycle + 1} of ${CYCLES}`);
    await addOne(whole, cycle);
    const addedMs = performance.now();
    const [seenMs] = await Promise.all([
      untilAllShow(bench, whole, false, addedMs),
      buyOne(bench, whole).then(() => bought.push(performance.now() - addedMs)),
    ]);
    withdrawn.push(seenMs);
    shown.push(await untilAllShow(bench, whole, true, addedMs + (bought.at(-1) as number)));
  }
  const rounded = (ms: number): number => Math.round(ms);
  return entryOf({
    what: `a sale on ${SHARDS} shards sells its last unit, and gets one more, ${CYCLES} times: until every gateway process says so`,
    unit: "changes",
    perSecond: 1_000 / median(shown),
    generator: `one question after the other, ${ASK_EVERY_MS} ms apart, each on a connection of its own`,
    numbers: {
      shownMedianMs: rounded(median(shown)),
      shownMostMs: rounded(Math.max(...shown)),
      withdrawnMedianMs: rounded(median(withdrawn)),
      withdrawnMostMs: rounded(Math.max(...withdrawn)),
      boughtMedianMs: rounded(median(bought)),
      boughtMostMs: rounded(Math.max(...bought)),
    },
    notes: ["shown counts from the answer to the last buyer, withdrawn and bought from the answer to the operator who added the unit"],
  });
};

export const soldOut: Scenario = {
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
