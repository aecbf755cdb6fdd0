import { rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { ProgramName, until, type Environment, type Stack, type StackInfo, type StackOptions } from "../../deploy/local/index.ts";
import type { CrashPoint } from "../faults/points.ts";
import { environment } from "./run.ts";
import { Services } from "./messages/services.ts";
import { StackWorld } from "./stack-world.ts";
import { startStack } from "./stack.ts";

const REACHED_WITHIN_MS = 60_000;

/**
 * A `StackWorld` whose programs can be made to die at a crash point, and whose supervisor then starts them without it;
 * beside it other services, which answer two-phase messages. Starts in some seconds; `close` ends services and stack.
 */
export class CrashWorld extends StackWorld {
  readonly services: Services;
  /** where services find the coordinator, if not at its own address: a proxy's */
  coordinator: string | undefined;
  /** by program: the point of its next start */
  readonly #armed = new Map<string, string>();
  /** done between the death of a part and its next start */
  readonly #whenDead = new Map<string, () => void>();

  private constructor(stack: Stack, info: StackInfo, services: Services) {
    super(stack, info);
    this.services = services;
  }

  /** @param variables of all programs, beside those that make them quick */
  static override async start(
    options: Pick<StackOptions, "route" | "launchEnvironment" | "shards" | "redis"> = {},
    variables: Environment = {},
  ): Promise<CrashWorld> {
    let world: CrashWorld | undefined;
    const stack = await startStack({
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
      launchEnvironment: (part) => ({ ...options.launchEnvironment?.(part), ...(world === undefined ? {} : world.#takeArmed(part)) }),
      onEvent: (event) => {
        if (event.kind === "died" && world !== undefined) world.#died(event.part);
      },
    });
    world = new CrashWorld(stack, await stack.info(), await Services.start());
    return world;
  }

  /** Starts the program again with the point in its environment; its next start will be without. */
  arm({ program, point, pass }: Pick<CrashPoint, "program" | "point" | "pass">, how = ""): void {
    this.#armed.set(program, `${point}:${pass}${how}`);
    this.stack.kill(program);
  }

  /** How often the point was reached in this run. */
  async reached({ program, point }: Pick<CrashPoint, "program" | "point">): Promise<number> {
    const log = await readFile(join(this.stack.folder, "logs", `${program}.log`), "utf8").catch(() => "");
    return log.split("\n").filter((line) => line.includes('"msg":"crash point"') && line.includes(`"point":"${point}"`)).length;
  }

  /** `<program> <port>.<call>` of everything that armed programs did in this run. */
  async callsMade(): Promise<readonly string[]> {
    const made = new Set<string>();
    for (const program of Object.values(ProgramName)) {
      const log = await readFile(join(this.stack.folder, "logs", `${program}.log`), "utf8").catch(() => "");
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
    return this.stack.parts.filter((part) => part.startsWith("redis-"));
  }

  /** Kills every Redis; with `wipe` each loses its folder before it starts again. */
  async killRedis(wipe: boolean): Promise<void> {
    const { stack } = this;
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

  override async close(): Promise<void> {
    await this.services.stop();
    await super.close();
  }

  #takeArmed(part: string): Environment {
    const at = this.#armed.get(part);
    this.#armed.delete(part);
    return at === undefined ? {} : { DOORBUSTER_CRASH_AT: at };
  }

  #died(part: string): void {
    this.#whenDead.get(part)?.();
    this.#whenDead.delete(part);
  }
}
