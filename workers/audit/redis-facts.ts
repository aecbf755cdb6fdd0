import type { Redis } from "ioredis";
import { EntryKind } from "#lua/shard/entry";
import { saleKeys, shardKeys } from "#lua/core/keys";
import { formatPosition, parsePosition, type Position } from "#lua/core/position";
import type { ForeignKey, SaleInRedis, ShardInRedis } from "./facts.ts";

/** Small enough that one call holds the server for about a millisecond. */
const SCAN_COUNT = 2_000;
const ENTRIES_A_PAGE = 200;

/** Answers of a MULTI in order; a command of it that fails is undefined (XINFO of a stream that is not there). */
const execute = async (multi: ReturnType<Redis["multi"]>): Promise<unknown[]> => {
  const results = await multi.exec();
  if (results === null) throw new Error("Redis discarded the transaction (MULTI) of the audit");
  return results.map(([error, value]) => (error === null ? value : undefined));
};

const lastGeneratedId = (info: unknown, epoch: number): Position => {
  if (!Array.isArray(info)) return { epoch, seq: 0 };
  const at = info.indexOf("last-generated-id");
  return parsePosition(String(info[at + 1])) ?? { epoch, seq: 0 };
};

/** The permission is of this very server: a promoted replica has its primary's, and does not sell on it (DESIGN 4.3). */
const isPermitted = (open: unknown, epoch: number, replication: string): boolean =>
  /^role:master\r?$/m.test(replication) && open === `${epoch} ${/^master_replid:(\w+)/m.exec(replication)?.[1]}`;

/** @param time what TIME answers: seconds and microseconds */
const firstEntry = (range: unknown, time: unknown): ShardInRedis["first"] => {
  const [id, fields] = (range as readonly [string, readonly string[]][] | undefined)?.[0] ?? [];
  const position = id === undefined ? undefined : parsePosition(id);
  if (position === undefined || fields === undefined) return undefined;
  const [seconds, micros] = time as readonly [string, string];
  return { ...position, ageMs: Number(seconds) * 1_000 + Number(micros) / 1_000 - Number(fields[fields.indexOf("t") + 1]) };
};

const optionalNumber = (value: unknown): number | undefined => (typeof value === "string" && value !== "" ? Number(value) : undefined);

/** What a key of another type than ours answers: it holds nothing of ours, and is told of by `foreignKeys`. */
const whereOurs = async <T>(read: Promise<T>, otherwise: T): Promise<T> => {
  try {
    return await read;
  } catch (error) {
    if ((error as Error).message.startsWith("WRONGTYPE")) return otherwise;
    throw error;
  }
};

type TypedKey = Omit<ForeignKey, "found">;

/** Every key whose content the audit reads. */
const keysOf = (shard: number, saleIds: Iterable<string>): readonly TypedKey[] => {
  const { epoch, applied, open, outbox, sales } = shardKeys(shard);
  const keys: TypedKey[] = [epoch, applied, open].map((key) => ({ key, saleId: null, wanted: "string" }));
  keys.push({ key: outbox, saleId: null, wanted: "stream" }, { key: sales, saleId: null, wanted: "set" });
  for (const saleId of saleIds) {
    const { sale, buyers, grants } = saleKeys(shard, saleId);
    keys.push({ key: sale, saleId, wanted: "hash" }, { key: buyers, saleId, wanted: "hash" }, { key: grants, saleId, wanted: "set" });
  }
  return keys;
};

/** @param types what TYPE answers to each key */
const foreignKeys = (keys: readonly TypedKey[], types: readonly unknown[]): ForeignKey[] =>
  keys.flatMap((typed, index) => {
    const found = String(types[index]);
    return found === typed.wanted || found === "none" ? [] : [{ ...typed, found }];
  });

/** Reads all small facts of a shard at one instant. @param saleIds sales that Postgres has; Redis's own are added */
export const readShard = async (redis: Redis, shard: number, saleIds: readonly string[]): Promise<ShardInRedis> => {
  const keys = shardKeys(shard);
  const known = new Set([...saleIds, ...(await whereOurs(redis.smembers(keys.sales), []))]);
  const typed = keysOf(shard, known);
  const multi = redis
    .multi()
    .get(keys.epoch)
    .get(keys.applied)
    .xinfo("STREAM", keys.outbox)
    .xrange(keys.outbox, "-", "+", "COUNT", 1)
    .time()
    .get(keys.open)
    .info("replication");
  for (const { key } of typed) multi.type(key);
  for (const saleId of known) {
    const names = saleKeys(shard, saleId);
    multi.hget(names.sale, "left").smembers(names.grants);
  }
  const [epochText, appliedText, info, range, time, open, replication, ...answers] = await execute(multi);
  const rest = answers.slice(typed.length);
  const epoch = optionalNumber(epochText) ?? 0;
  const sales = new Map<string, SaleInRedis>();
  for (const [index, saleId] of [...known].entries()) {
    const leftUnits = optionalNumber(rest[index * 2]);
    const grants = new Set(rest[index * 2 + 1] as string[] | undefined);
    if (leftUnits !== undefined || grants.size > 0) sales.set(saleId, { saleId, leftUnits, grants });
  }
  const applied = parsePosition(String(appliedText));
  const isOpen = isPermitted(open, epoch, String(replication));
  const foreign = foreignKeys(typed, answers);
  return { shard, epoch, last: lastGeneratedId(info, epoch), applied, isOpen, first: firstEntry(range, time), sales, foreign };
};

/** A page of a buyers' hash: field, value, field, value. Every field that is there all the time comes at least once. */
export async function* scanBuyers(redis: Redis, shard: number, saleId: string): AsyncGenerator<readonly string[]> {
  let cursor = "0";
  do {
    const scanned = redis.hscan(saleKeys(shard, saleId).buyers, cursor, "COUNT", SCAN_COUNT);
    const [next, page] = await whereOurs<[string, string[]]>(scanned, ["0", []]);
    if (page.length > 0) yield page;
    cursor = next;
  } while (cursor !== "0");
}

/** One entry that the outbox still holds. */
export interface HeldEntry {
  readonly epoch: number;
  readonly seq: number;
  readonly saleId: string;
  /** packed purchases joined by a space; empty for an entry that sells nothing */
  readonly purchases: string;
  /** units that it took out for another shard; 0 for every other entry */
  readonly withdrawnUnits: number;
}

/** Pages of the outbox, up to and with `last`. Entries do not change; what is trimmed meanwhile is in Postgres. */
export async function* scanOutbox(redis: Redis, shard: number, last: Position): AsyncGenerator<readonly HeldEntry[]> {
  let from = "-";
  for (;;) {
    const read = redis.xrange(shardKeys(shard).outbox, from, formatPosition(last), "COUNT", ENTRIES_A_PAGE);
    const page = await whereOurs(read, []);
    if (page.length === 0) return;
    yield page.map(([id, pairs]) => {
      const position = parsePosition(id) ?? { epoch: 0, seq: 0 };
      const value = (name: string): string => {
        const at = pairs.findIndex((item, index) => index % 2 === 0 && item === name);
        return at < 0 ? "" : (pairs[at + 1] as string);
      };
      const kind = value("k");
      return {
        ...position,
        saleId: value("s"),
        purchases: kind === EntryKind.order ? value("b") : "",
        withdrawnUnits: kind === EntryKind.withdrawn ? Number(value("u")) : 0,
      };
    });
    from = `(${page.at(-1)?.[0]}`;
  }
}
