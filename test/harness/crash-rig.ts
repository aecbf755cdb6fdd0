import { setMaxListeners } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { rmSync } from "node:fs";
import { ProgramName, until, type Environment, type StackOptions } from "../../deploy/local/index.ts";
import { Crowd, Draw, environment, Fair, judgeSale, type CrowdCounts } from "./index.ts";
import { Services } from "./messages/services.ts";
import type { CrashPoint } from "../faults/points.ts";

/** Never sold out: buyers go on buying until the point was reached, however long a start takes. */
const UNITS = 5_000;
const BUYERS = 4_000;
const HOUR_MS = 3_600_000;
const BUYERS_PER_SECOND = 25;
const REACHED_WITHIN_MS = 60_000;
const REST_WITHIN_MS = 60_000;
/** The point may kill the program while it starts. */
const HEARD_WITHIN_MS = 60_000;
const ASK_AGAIN_MS = 200;
/** Buyers who come after the crash. */
const AFTERWARDS = 10;

/**
 * Asks as an operator does who hears that a store is away: again, in the same words. The programs of a row before may
 * die still: of several processes each is armed.
 */
export const untilHeard = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
  let answer: { readonly told: T } | undefined;
  let why = "";
  const isHeard = async (): Promise<boolean> => {
    answer = await work().then(
      (told) => ({ told }),
      (error: Error) => {
        why = error.message;
        return undefined;
      },
    );
    return answer !== undefined;
  };
  await until(isHeard, what, HEARD_WITHIN_MS, ASK_AGAIN_MS).catch((error: Error) => {
    throw new Error(`${error.message}: ${why}`);
  });
  return (answer as unknown as { readonly told: T }).told;
};

/** A sale that is under way while something is done to the stack. */
export class LiveSale {
  readonly id: string;
  readonly crowd: Crowd;
  readonly counts: CrowdCounts = { requests: 0, silent: 0, later: 0, won: 0 };
  readonly #fair: Fair;
  readonly #running: Promise<void>;
  readonly #stop = new AbortController();

  private constructor(fair: Fair, id: string) {
    this.#fair = fair;
    this.id = id;
    this.crowd = new Crowd(fair, { saleId: id, buyers: BUYERS, limit: 1 }, this.counts, new Draw(id.length), this.#stop.signal);
    // each buyer sleeps on it: no leak
    setMaxListeners(0, this.#stop.signal);
    this.#running = this.crowd.run(BUYERS_PER_SECOND);
  }

  static async open(fair: Fair, id: string, more: Readonly<Record<string, unknown>> = {}): Promise<LiveSale> {
    const opensAtMs = Date.now() - 1_000;
    const window = { opensAtMs, closesAtMs: opensAtMs + HOUR_MS };
    await untilHeard(`${id} to be opened`, () => fair.openSale(id, UNITS, { ...window, ...more }));
    const sale = new LiveSale(fair, id);
    await until(() => sale.crowd.purchases.length > AFTERWARDS, "the sale to be under way", REST_WITHIN_MS);
    return sale;
  }

  /** Ends it some buyers later, and compares what everybody was told with what is. @returns what is wrong */
  async end(): Promise<readonly string[]> {
    const wrong: string[] = [];
    const upto = this.crowd.purchases.length + AFTERWARDS;
    try {
      await until(() => this.crowd.purchases.length >= upto, "buyers to come after the crash", REST_WITHIN_MS);
      this.crowd.enough();
      await this.#fair.stack.ready();
      await until(() => this.crowd.waiting === 0, "every buyer to have an answer", REST_WITHIN_MS);
      await judgeSale(this.#fair, this.crowd, UNITS, REST_WITHIN_MS, (violation) => wrong.push(violation));
    } catch (error) {
      wrong.push((error as Error).message);
    } finally {
      this.#stop.abort();
      await this.#running;
    }
    return [...this.crowd.violations, ...wrong];
  }
}

/** A stack whose programs can be made to die at a point, and whose supervisor then starts them without it. */
export class CrashRig {
  readonly fair: Fair;
  readonly services: Services;
  /** where services find the coordinator, if not at its own address: a proxy's */
  coordinator: string | undefined;
  /** by program: the point of its next start */
  readonly #armed = new Map<string, string>();
  /** done between the death of a part and its next start */
  readonly #whenDead = new Map<string, () => void>();

  private constructor(fair: Fair, services: Services) {
    this.fair = fair;
    this.services = services;
  }

  /** @param variables of all programs, beside those that make them quick */
  static async open(
    options: Pick<StackOptions, "route" | "launchEnvironment" | "shards" | "redis"> = {},
    variables: Environment = {},
  ): Promise<CrashRig> {
    let rig: CrashRig | undefined;
    const fair = await Fair.open({
      shards: 2,
      ...options,
      restartAfterMs: 100,
      environment: {
        ...environment,
        // messages are asked about, tried again and forgotten while a test waits
        DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "300",
        DOORBUSTER_MESSAGE_RETRY_MS: "200",
        DOORBUSTER_MESSAGE_RETENTION_MS: "1000",
        ...variables,
      },
      launchEnvironment: (part) => ({ ...options.launchEnvironment?.(part), ...rig?.launching(part) }),
      onEvent: (event) => {
        if (event.kind === "died") rig?.died(event.part);
      },
    });
    rig = new CrashRig(fair, await Services.start());
    return rig;
  }

  /** Starts the program again with the point in its environment; its next start will be without. */
  arm({ program, point, pass }: Pick<CrashPoint, "program" | "point" | "pass">, how = ""): void {
    this.#armed.set(program, `${point}:${pass}${how}`);
    this.fair.stack.kill(program);
  }

  /** How often the point was reached in this run. */
  async reached({ program, point }: Pick<CrashPoint, "program" | "point">): Promise<number> {
    const log = await readFile(join(this.fair.stack.folder, "logs", `${program}.log`), "utf8").catch(() => "");
    return log.split("\n").filter((line) => line.includes('"msg":"crash point"') && line.includes(`"point":"${point}"`)).length;
  }

  /** `<program> <port>.<call>` of everything that armed programs did in this run. */
  async callsMade(): Promise<readonly string[]> {
    const made = new Set<string>();
    for (const program of Object.values(ProgramName)) {
      const log = await readFile(join(this.fair.stack.folder, "logs", `${program}.log`), "utf8").catch(() => "");
      for (const [, call] of log.matchAll(/"call":"([^"]+)","msg":"call with crash points"/g)) made.add(`${program} ${call}`);
    }
    return [...made];
  }

  async untilReached(point: Pick<CrashPoint, "program" | "point">, before: number, boundMs = REACHED_WITHIN_MS): Promise<boolean> {
    try {
      await until(async () => (await this.reached(point)) > before, `${point.point} to be reached`, boundMs, 50);
      return true;
    } catch {
      return false;
    }
  }

  get redisParts(): readonly string[] {
    return this.fair.stack.parts.filter((part) => part.startsWith("redis-"));
  }

  /** Kills every Redis; with `wipe` each loses its folder before it starts again. */
  async killRedis(wipe: boolean): Promise<void> {
    const { stack } = this.fair;
    if (wipe) {
      const { redis } = await stack.info();
      for (const [shard, { dir }] of redis.entries())
        this.whenDead(`redis-${shard}`, () => rmSync(dir as string, { recursive: true, force: true }));
    }
    for (const part of this.redisParts) stack.kill(part);
  }

  /** Does something once, when a part has died and before it is started again. */
  whenDead(part: string, act: () => void): void {
    this.#whenDead.set(part, act);
  }

  async close(): Promise<void> {
    await this.services.stop();
    await this.fair.close();
  }

  private launching(part: string): Environment {
    const at = this.#armed.get(part);
    this.#armed.delete(part);
    return at === undefined ? {} : { DOORBUSTER_CRASH_AT: at };
  }

  private died(part: string): void {
    this.#whenDead.get(part)?.();
    this.#whenDead.delete(part);
  }
}
