import { createHash } from "node:crypto";
import type { ChainableCommander, Redis } from "ioredis";
import { isDeepStrictEqual } from "node:util";
import type { Script, ScriptRedis } from "#lua";
import { CLOCK_KEY, DUMP, differences, type KeySpace } from "./key-space.ts";

/** The scripts that are asked, by the sha that the bindings send. */
export type Scripts = ReadonlyMap<string, { readonly script: Script; readonly sha: string }>;

const shaOf = (source: string): string => createHash("sha1").update(source).digest("hex");

/**
 * Loads scripts with a clock that the test holds: TIME is read from a list, so that the edges of a window are met to the
 * millisecond. All else is the shipped text, or a mutant's.
 */
export const loadScripts = async (
  redis: Redis,
  scripts: readonly Script[],
  { heldClock, mutate = (_, source) => source }: { heldClock: boolean; mutate?: (name: string, source: string) => string },
): Promise<Scripts> => {
  const loaded = new Map<string, { script: Script; sha: string }>();
  for (const script of scripts) {
    const mutated = mutate(script.name, script.source);
    const source = heldClock ? mutated.replaceAll("redis.call('TIME')", `redis.call('LRANGE', '${CLOCK_KEY}', 0, 1)`) : mutated;
    await redis.script("LOAD", source);
    loaded.set(script.sha, { script, sha: shaOf(source) });
  }
  return loaded;
};

export interface Identity {
  readonly replicationId: string;
  readonly isPrimary: boolean;
  readonly hasReplicas: boolean;
}

export type Outcome = { readonly value: unknown } | { readonly error: string };

interface Asked {
  readonly what: string;
  readonly expected: Outcome;
  readonly got: Promise<Outcome>;
  /** what the model held after it, where all keys are looked at */
  space: KeySpace | undefined;
  /** place of the dump among the replies */
  dumpAt: number;
}

interface Waiting {
  readonly at: number;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The first word of an error is its kind: ERR, READONLY, OOM ... */
const kindOf = (error: unknown): string => String(error instanceof Error ? error.message : error).split(" ", 1)[0] as string;

const settled = (promise: Promise<unknown>): Promise<Outcome> =>
  promise.then(
    (value): Outcome => ({ value }),
    (error: unknown): Outcome => ({ error: kindOf(error) }),
  );

/** What a model answers or throws. */
export const outcomeOf = (answer: () => unknown): Outcome => {
  try {
    return { value: answer() };
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError) throw error;
    return { error: kindOf(error) };
  }
};

class OutOfStep extends Error {
  override readonly name = "OutOfStep";
}

/** All keys are looked at after so many questions and at the end: what is wrong stays wrong, and shrinking finds the question. */
const LOOK_EVERY = 3;

/**
 * A real server beside a model. Questions are asked of both at once but sent together: what the model answered and what
 * it held then is compared with each answer, and with the whole key space after every few, when the replies come.
 */
export class Lockstep implements ScriptRedis {
  readonly redis: Redis;
  /** the server has no memory for what takes some */
  isFull = false;
  /** questions so far */
  asked = 0;
  readonly #scripts: Scripts;
  readonly #keySpace: (() => KeySpace) | undefined;
  #pipeline: ChainableCommander;
  #waiting: Waiting[] = [];
  #asked: Asked[] = [];
  #sent = 0;

  /** @param keySpace what the model holds; without it nothing is compared */
  constructor(redis: Redis, scripts: Scripts, keySpace?: () => KeySpace) {
    this.redis = redis;
    this.#scripts = scripts;
    this.#keySpace = keySpace;
    this.#pipeline = redis.pipeline();
  }

  /** A command of the test's own; an error of it fails the sequence. */
  tell(command: string, ...args: readonly (string | number)[]): void {
    void this.#push(command, args).catch(() => undefined);
    const got = settled(this.#lastReply as Promise<unknown>).then((outcome) => ("error" in outcome ? outcome : { value: undefined }));
    this.#asked.push({ what: `${command} ${args.join(" ")}`, expected: { value: undefined }, got, space: undefined, dumpAt: -1 });
  }

  /** Asks both; the key space is compared after it. */
  ask(what: string, send: (redis: ScriptRedis) => Promise<unknown>, expected: Outcome): void {
    this.asked += 1;
    const got = settled(send(this));
    if (this.#keySpace === undefined) return;
    this.#asked.push({ what, expected, got, space: undefined, dumpAt: -1 });
    if (this.asked % LOOK_EVERY === 0) this.#look();
  }

  /** Compares all keys with what the model holds now. */
  #look(): void {
    const last = this.#asked.at(-1);
    if (this.#keySpace === undefined || last === undefined || last.dumpAt >= 0) return;
    last.space = this.#keySpace();
    last.dumpAt = this.#sent;
    this.#pipeline.eval(DUMP, 0);
    this.#sent += 1;
  }

  /** Sends what was asked and compares. @throws OutOfStep */
  async flush(): Promise<void> {
    if (this.#sent === 0) return;
    this.#look();
    const pipeline = this.#pipeline;
    const waiting = this.#waiting;
    const asked = this.#asked;
    this.#pipeline = this.redis.pipeline();
    this.#waiting = [];
    this.#asked = [];
    this.#sent = 0;
    const replies = (await pipeline.exec()) ?? [];
    for (const { at, resolve, reject } of waiting) {
      const [error, reply] = replies[at] ?? [new Error("no answer"), undefined];
      if (error === null) resolve(reply);
      else reject(error);
    }
    const told: string[] = [];
    for (const { what, expected, got, space, dumpAt } of asked) {
      told.push(what);
      const outcome = await got;
      if (!isDeepStrictEqual(outcome, expected))
        throw new OutOfStep(
          `${what}: answered ${JSON.stringify(outcome)}, the model ${JSON.stringify(expected)}; before: ${told.join("; ")}`,
        );
      if (space === undefined) continue;
      const [error, dump] = replies[dumpAt] ?? [new Error("no dump"), undefined];
      if (error !== null) throw error;
      const different = differences(space, dump);
      if (different.length > 0) throw new OutOfStep(`after ${what}: ${different.join("; ")}; before: ${told.join("; ")}`);
    }
  }

  evalsha = ((sha: string, count: number, ...rest: (string | number)[]) => {
    const known = this.#scripts.get(sha);
    if (known === undefined) return Promise.reject(new Error(`no script ${sha}`));
    return this.#push("evalsha", [known.sha, count, ...rest]);
  }) as ScriptRedis["evalsha"];

  eval = (() => Promise.reject(new Error("a script was not loaded"))) as ScriptRedis["eval"];

  #lastReply: Promise<unknown> | undefined;

  #push(command: string, args: readonly (string | number)[]): Promise<unknown> {
    const at = this.#sent;
    this.#sent += 1;
    this.#pipeline.call(command, ...args.map(String));
    this.#lastReply = new Promise((resolve, reject) => {
      this.#waiting.push({ at, resolve, reject });
    });
    return this.#lastReply;
  }
}

const clockArgs = (nowMs: number): string[] => [String(Math.floor(nowMs / 1_000)), String((nowMs % 1_000) * 1_000 + 7)];

/** Sets the clock that the scripts read. */
export const tellClock = (step: Lockstep, nowMs: number): void => {
  if (step.isFull) step.tell("config", "set", "maxmemory", 0);
  step.tell("del", CLOCK_KEY);
  step.tell("rpush", CLOCK_KEY, ...clockArgs(nowMs));
  if (step.isFull) step.tell("config", "set", "maxmemory", 1);
};

/** A server that fills: from here on what is not `allow-oom` is refused. */
export const tellFull = (step: Lockstep, isFull: boolean): void => {
  step.isFull = isFull;
  step.tell("config", "set", "maxmemory", isFull ? 1 : 0);
};

export const readIdentity = async (redis: Redis): Promise<Identity> => {
  const info = await redis.info("replication");
  const replicationId = /master_replid:([0-9a-f]+)/.exec(info)?.[1];
  if (replicationId === undefined) throw new Error("INFO names no replication id");
  return { replicationId, isPrimary: info.includes("role:master"), hasReplicas: info.includes("repl_backlog_active:1\r") };
};

/** An empty primary with memory, whatever the sequence before has left. */
export const beginAgain = async (redis: Redis, nowMs: number): Promise<void> => {
  const replies = await redis
    .pipeline([
      ["replicaof", "no", "one"],
      ["config", "set", "maxmemory", "0"],
      ["flushall", "sync"],
      ["rpush", CLOCK_KEY, ...clockArgs(nowMs)],
    ])
    .exec();
  for (const [error] of replies ?? []) if (error !== null) throw error;
};
