import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { InvariantViolation, violationIn } from "./invariant.ts";
import { composeScript } from "./compose.ts";

/** The part of a connection that the scripts use. */
export type ScriptRedis = Pick<Redis, "evalsha" | "eval">;

export interface Script {
  readonly name: string;
  /** as the server gets it: includes put in */
  readonly source: string;
  readonly sha: string;
  run(redis: ScriptRedis, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>;
}

const asViolation =
  (keys: readonly string[]) =>
  (error: unknown): never => {
    throw violationIn(error, keys) ?? error;
  };

const INCLUDES = new URL("../include/", import.meta.url);

/** The server was there and refused this call: another one may go well. */
export const isRefused = (error: unknown): boolean =>
  error instanceof InvariantViolation || (error instanceof Error && error.name === "ReplyError");

const isMissing = (error: unknown): boolean => error instanceof Error && error.message.startsWith("NOSCRIPT");

/**
 * Loads `<name>.lua` from beside the module that binds it and puts its includes in. `run` sends EVALSHA and, only if the server says that it does not
 * have the script (so it did nothing), sends the script itself, which also leaves it there: EVAL goes where the keys
 * are, SCRIPT LOAD in a cluster does not. A lost answer is an error, never a second sending.
 * @param binding `import.meta.url` of that module
 */
export const loadScript = (name: string, binding: string): Script => {
  const source = composeScript(new URL(`${name}.lua`, binding), INCLUDES);
  const sha = createHash("sha1").update(source).digest("hex");
  return {
    name,
    source,
    sha,
    run: async (redis, keys, args) => {
      try {
        return await redis.evalsha(sha, keys.length, ...keys, ...args);
      } catch (error) {
        if (!isMissing(error)) return asViolation(keys)(error);
        return await redis.eval(source, keys.length, ...keys, ...args).catch(asViolation(keys));
      }
    },
  };
};

/**
 * For `.catch`: a replica refuses a script that writes before it begins, so nothing ran and `status` is the answer.
 * Any other error stays one.
 */
export const onReplica =
  <S>(status: S) =>
  (error: unknown): S => {
    if (error instanceof Error && error.message.startsWith("READONLY")) return status;
    throw error;
  };
