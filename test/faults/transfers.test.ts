import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseOrderId, type SaleRecord } from "#protocol";
import { signal } from "../../deploy/local/index.ts";
import { KnownSale } from "../../gateway/index.ts";
import type { AuditReport } from "../../workers/index.ts";
import { Draw, environment, seedOf, until, type BuyAnswer } from "../harness/index.ts";
import { stoppedOf } from "../harness/processes.ts";
import { CrashWorld } from "../harness/crash-world.ts";
import { STEPS, TransferWatch, type Step } from "./transfer-steps.ts";

/**
 * A hundred random schedules in which units have to move, each with its own kills between two steps of a transfer. A program
 * stops at a point of its own, and goes on from pass to pass until it stands there while units are on their way; the auditor reads
 * all stores as they stand then; the program is killed, sometimes a Redis with it, with or without its folder; the auditor
 * reads again; and in the end every unit is sold, and nobody was ever told otherwise.
 *
 * `npm run test:crash` goes through all schedules, `npm test` through a few that the commit chooses.
 */
const SCHEDULES = 100;
const isWhole = environment["CRASH_MATRIX"] === "whole";
const seed = seedOf("TRANSFER_SEED");

const SHARDS = 4;
const REDIS = 2;
/** Longer than a program needs to start again: otherwise what dies is found closed, and an epoch begins instead of a transfer. */
const OPEN_MS = 12_000;
const REST_WITHIN_MS = 60_000;
/** Some sales may pass before units are on their way at the moment that is asked for. */
const MIDWAY_WITHIN_MS = 150_000;
/** A program that is stopped where it is to die keeps its buyers waiting; whoever waits longer waits for nothing. */
const ANSWERED_WITHIN_MS = 300_000;
const HOUR_MS = 3_600_000;
/** Buyers of a sale at a time. */
const AT_ONCE = 4;

/** What the seed says of one schedule. */
interface Plan {
  readonly number: number;
  readonly draw: Draw;
  /** where programs die, one after the other */
  readonly kills: readonly Step[];
  /** a Redis dies with the last of them */
  readonly redis: "lives" | "dies" | "loses its folder";
}

/** One sale: units that lie on several shards, and buyers who are all at home on one. */
interface Sale {
  readonly id: string;
  readonly units: number;
  readonly uids: readonly string[];
}

/** Every step comes first in some schedules of a whole run; what follows it in a transfer may come second and third. */
const planOf = (number: number): Plan => {
  const draw = new Draw(seed + number);
  const first = (seed + number) % STEPS.length;
  const kills = [STEPS[first] as Step];
  while (kills.length < 3 && draw.fraction() < 0.4) kills.push(draw.pick(STEPS.slice(STEPS.indexOf(kills.at(-1) as Step))));
  return { number, draw, kills, redis: draw.weighted({ lives: 6, dies: 2, "loses its folder": 2 }) };
};

let world: CrashWorld;
let watch: TransferWatch;
/** kills while units were on their way */
let kills = 0;
beforeAll(async () => {
  world = await CrashWorld.start({ shards: SHARDS, redis: REDIS }, { DOORBUSTER_OPEN_MS: String(OPEN_MS) });
  watch = await TransferWatch.open(await world.stack.info());
}, 180_000);
afterAll(async () => {
  await watch?.close();
  await world?.close();
});

const buyersAtHome = (saleId: string, shards: readonly number[], home: number, count: number): string[] => {
  const sale = new KnownSale({ id: saleId, shards } as SaleRecord);
  const uids: string[] = [];
  for (let n = 0; uids.length < count; n += 1) if (sale.shardOf(`b${n}`) === home) uids.push(`b${n}`);
  return uids;
};

/** Resolves when all units are where they were dealt to: what moves from here on moves for buyers. */
const openSale = async (draw: Draw, id: string, leastShards: number): Promise<Sale> => {
  const units = draw.between(4, 24);
  const shardCount = draw.between(leastShards, SHARDS);
  // a worker that was killed a moment ago may not answer yet; the same sale again is a repeat
  const opensAtMs = Date.now() - 1_000;
  const isOpened = (): Promise<boolean> =>
    world.openSale(id, units, { shardCount, opensAtMs, closesAtMs: opensAtMs + HOUR_MS }).then(
      () => true,
      () => false,
    );
  await until(isOpened, `${id} to be opened`, REST_WITHIN_MS);
  const isStocked = async (): Promise<boolean> =>
    (await world.audit().catch(() => undefined))?.sales.find((sale) => sale.id === id)?.free === units;
  await until(isStocked, `the units of ${id} to arrive`, REST_WITHIN_MS);
  const shards = await world.shardsOf(id);
  return { id, units, uids: buyersAtHome(id, shards, draw.pick(shards), units + draw.between(1, 6)) };
};

const buyAll = async ({ id, uids }: Sale): Promise<ReadonlyMap<string, BuyAnswer>> => {
  const answers = new Map<string, BuyAnswer>();
  let next = 0;
  const one = async (): Promise<void> => {
    for (let n = next++; n < uids.length; n = next++) answers.set(uids[n] as string, await world.buy(id, uids[n] as string));
  };
  const all = Promise.all(Array.from({ length: AT_ONCE }, one));
  const allAnswered = until(() => Promise.resolve(answers.size === uids.length), `all ${uids.length} answers of ${id}`, ANSWERED_WITHIN_MS);
  await Promise.all([all, allAnswered]);
  return answers;
};

/** The auditor can read everything, finds nothing, and each sale's units are all somewhere. */
const expectIdentity = async (sales: readonly Sale[], when: string): Promise<void> => {
  let report: AuditReport | undefined;
  let why = "";
  const isRead = async (): Promise<boolean> => {
    report = await world.audit().catch((error: Error) => void (why = error.message));
    const unsettled = report?.differences.find(({ kind }) => kind === "unsettled");
    if (unsettled !== undefined) why = unsettled.detail;
    return report !== undefined && unsettled === undefined;
  };
  await until(isRead, `an audit ${when}`, REST_WITHIN_MS).catch((error: Error) => {
    throw new Error(`${error.message}: ${why}`);
  });
  expect(report?.differences, when).toEqual([]);
  for (const { id, units } of sales) {
    const sale = report?.sales.find((each) => each.id === id);
    expect((sale?.free ?? 0) + (sale?.reserved ?? 0) + (sale?.inFlight ?? 0) + (sale?.sold ?? 0), `${id} ${when}`).toBe(units);
  }
};

const killProgram = async (program: Step["program"]): Promise<void> => {
  for (const pid of await world.stack.pids(program)) signal(pid, "SIGKILL");
};

/** Kills one of the servers. @returns the shards that lose their data by it */
const killRedis = async ({ draw, redis }: Plan): Promise<readonly number[]> => {
  if (redis === "lives") return [];
  const part = draw.pick(world.redisParts);
  const servers = (await world.stack.info()).redis;
  const { url, dir } = servers[Number(part.split("-")[1])] as (typeof servers)[number];
  if (redis === "loses its folder") world.whenDead(part, () => rmSync(dir as string, { recursive: true, force: true }));
  world.stack.kill(part);
  return redis === "dies" ? [] : servers.flatMap((server, shard) => (server.url === url ? [shard] : []));
};

/** What the programs are to do, and the sales that they do it to. */
class Schedule {
  readonly sales: Sale[] = [];
  /** by sale: the first answer of each buyer */
  readonly first: ReadonlyMap<string, BuyAnswer>[] = [];
  /** shards whose Redis lost its folder */
  lost: readonly number[] = [];
  readonly #plan: Plan;
  #isOver = false;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  async run(): Promise<void> {
    const [first] = this.#plan.kills as [Step];
    await this.#open();
    const old = await this.#arm(first);
    await Promise.all([this.#sell(), this.#killInTurn(old)]);
  }

  async #open(): Promise<void> {
    const { draw, number } = this.#plan;
    // more shards are more transfers
    this.sales.push(await openSale(draw, `schedule-${number}-${this.sales.length}`, this.sales.length === 0 ? 2 : SHARDS));
  }

  /** Sells one sale after the other until all have died who are to die; one is mostly enough. */
  async #sell(): Promise<void> {
    for (;;) {
      this.first.push(await buyAll(this.sales.at(-1) as Sale));
      if (this.#isOver) return;
      await this.#open();
    }
  }

  async #killInTurn(old: ReadonlySet<number>): Promise<void> {
    const { kills: places } = this.#plan;
    let before = old;
    try {
      for (const [n, place] of places.entries()) {
        await this.#killAt(place, before);
        const next = places[n + 1];
        if (next === undefined) this.lost = await killRedis(this.#plan);
        else before = await this.#arm(next);
        if (next?.program !== place.program) await killProgram(place.program);
      }
    } finally {
      this.#isOver = true;
      for (const program of new Set(places.map((place) => place.program)))
        if ((await stoppedOf(await world.stack.pids(program))).length > 0) await killProgram(program);
    }
  }

  /** @returns the processes that are killed by it: some of them may stand at a point still */
  async #arm({ program, point }: Step): Promise<ReadonlySet<number>> {
    const old = new Set(await world.stack.pids(program));
    world.arm({ program, point, pass: 1 }, ":step");
    return old;
  }

  /** Stops the program where it is to die, and audits. */
  async #killAt(place: Step, old: ReadonlySet<number>): Promise<void> {
    const { program, point, midway } = place;
    const what = `${program} at ${point}`;
    const isMidway = async (): Promise<boolean> => {
      const pids = (await world.stack.pids(program)).filter((pid) => !old.has(pid));
      if ((await stoppedOf(pids)).length === 0) return false;
      // of several processes no other may go on with it
      for (const pid of pids) signal(pid, "SIGSTOP");
      const found = await this.#midway();
      if (midway.some((each) => found.has(each))) return true;
      for (const pid of pids) signal(pid, "SIGCONT");
      return false;
    };
    await until(isMidway, `${what} while units are on their way (${midway.join(", ")})`, MIDWAY_WITHIN_MS);
    await expectIdentity(this.sales, `while ${what} stood`);
    // between two steps still: what is about to be killed has to see to these units again
    expect([...(await this.#midway())], `units on their way when ${what} was killed`).not.toEqual([]);
    kills += 1;
  }

  /** Nowhere while a Redis begins an epoch: then the auditor could not read either. */
  #midway(): Promise<ReadonlySet<string>> {
    return watch.midway((this.sales.at(-1) as Sale).id).catch(() => new Set());
  }
}

/**
 * A first answer stands: the same order, and no order for whoever was told that there is none. Only reservations of a Redis that
 * lost its folder may be gone, and their units be somebody else's.
 */
const expectSameAnswers = (
  saleId: string,
  first: ReadonlyMap<string, BuyAnswer>,
  second: ReadonlyMap<string, BuyAnswer>,
  lost: readonly number[],
): void => {
  for (const [uid, { code, orderId }] of first) {
    const now = second.get(uid) as BuyAnswer;
    const words = `${saleId}: ${uid} was told ${code} ${orderId ?? ""}, then ${now.code} ${now.orderId ?? ""}`;
    if (orderId === undefined) expect(code, words).toBe("sold_out");
    if (now.orderId !== orderId) expect(lost, words).toContain(parseOrderId((orderId ?? now.orderId) as string)?.shard);
  }
};

const run = async (plan: Plan): Promise<void> => {
  const schedule = new Schedule(plan);
  await schedule.run();
  await world.stack.ready();
  await expectIdentity(schedule.sales, "when all were up again");
  // Who was told of a reservation that was lost with its Redis comes again, as does everybody else.
  for (const [n, sale] of schedule.sales.entries()) {
    const second = await buyAll(sale);
    const answers = [...second.values()];
    const losers = answers.filter(({ orderId }) => orderId === undefined);
    expect(answers.length - losers.length, sale.id).toBe(sale.units);
    expect(new Set(losers.map(({ code }) => code)), sale.id).toEqual(new Set(["sold_out"]));
    expectSameAnswers(sale.id, schedule.first[n] as ReadonlyMap<string, BuyAnswer>, second, schedule.lost);
    expect(await world.auditAtRest(sale.id), sale.id).toMatchObject({
      free: 0,
      sold: sale.units,
      rejected: 0,
      duplicates: 0,
      orphans: 0,
    });
  }
};

/** `npm test` takes one schedule for each program, with one kill: a message that a dead worker held comes again after 10 s only. */
const chosen = (): readonly Plan[] => {
  const all = Array.from({ length: SCHEDULES }, (_, n) => planOf((seed + n) % SCHEDULES));
  if (isWhole) return all.toSorted((a, b) => a.number - b.number);
  const quick = all.filter(({ kills: places }) => places.length === 1);
  return (["coordinator", "workers"] as const).map((program) => quick.find(({ kills: [place] }) => place?.program === program) as Plan);
};

const nameOf = ({ number, kills: places, redis }: Plan): string => {
  const words = places.map(({ program, point, midway }) => `${program} at ${point}, ${midway.length === 1 ? midway[0] : "any"}`);
  return `schedule ${number}: ${words.join("; ")}; a Redis ${redis}`;
};

describe(`random transfers, programs killed between their steps (TRANSFER_SEED=${seed})`, { timeout: 600_000 }, () => {
  const plans = chosen();
  it.each(plans.map((plan) => [nameOf(plan), plan] as const))("%s", (_name, plan) => run(plan));

  it("killed as often as planned, each time while units were on their way", () => {
    expect(kills).toBe(plans.reduce((sum, plan) => sum + plan.kills.length, 0));
  });
});
