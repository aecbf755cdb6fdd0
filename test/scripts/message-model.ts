import type {
  ChangeMessageAnswer,
  ChangeTopicAnswer,
  CreateMessageAnswer,
  MessageChange,
  MessageFields,
  NewMessage,
  PlacementNotes,
  PutOff,
  ThereAlready,
} from "#lua";

/** What the two-phase messages of one shard are: plain data, changed in place. Times are ms of Redis's clock. */
export interface MessageData {
  readonly records: Map<string, { fields: MessageFields; expiresAtMs?: number }>;
  /** places that were given up, in the records' stead: for how many shards, and for how long */
  readonly yields: Map<string, { readonly count: number; readonly holdMs: number }>;
  readonly due: Map<string, number>;
  readonly messages: Map<string, number>;
  readonly finished: Map<string, number>;
  readonly dead: Map<string, number>;
  readonly placements: Map<string, number>;
  readonly topics: Map<string, string>;
}

export const noMessages = (): MessageData => ({
  records: new Map(),
  yields: new Map(),
  due: new Map(),
  messages: new Map(),
  finished: new Map(),
  dead: new Map(),
  placements: new Map(),
  topics: new Map(),
});

const MOST_A_CALL = 256;
const MOST_SWEPT = 1_000;

const bounded = (count: number, most: number): void => {
  if (count < 1 || count > most) throw new Error(`ERR between 1 and ${most}`);
};

/** Members by score, as Redis orders them. */
const ordered = (scores: ReadonlyMap<string, number>): [member: string, score: number][] =>
  [...scores].sort(([a, scoreA], [b, scoreB]) => scoreA - scoreB || (a < b ? -1 : 1));

const thereAlready = ({ records, yields }: MessageData, gid: string): ThereAlready | undefined => {
  const fields = records.get(gid)?.fields;
  if (fields !== undefined) return { status: "exists", fields };
  const given = yields.get(gid);
  return given === undefined ? undefined : { status: "elsewhere", count: given.count };
};

/** `message-create.lua` */
export const createMessages = (data: MessageData, messages: readonly NewMessage[], nowMs: number): CreateMessageAnswer[] => {
  bounded(messages.length, MOST_A_CALL);
  return messages.map(({ gid, createdAtMs, dueAtMs, state, definition, untilMs }) => {
    const there = thereAlready(data, gid);
    if (there !== undefined) return there;
    if (nowMs > untilMs) return { status: "late" };
    data.records.set(gid, { fields: { v: "1", s: state, d: definition } });
    data.due.set(gid, dueAtMs);
    data.messages.set(gid, createdAtMs);
    data.finished.delete(gid);
    return { status: "ok" };
  });
};

/** `message-yield.lua` */
export const yieldMessage = (data: MessageData, gid: string, count: number, holdMs: number): { status: "ok" } | ThereAlready => {
  const there = thereAlready(data, gid);
  if (there !== undefined && (there.status === "exists" || there.count < count)) return there;
  data.yields.set(gid, { count, holdMs });
  return { status: "ok" };
};

const move = (list: Map<string, number>, gid: string, to: number | "keep" | "none"): void => {
  if (to === "none") list.delete(gid);
  else if (to !== "keep") list.set(gid, to);
};

/** `message-change.lua`. A record whose time is over before `nowMs` goes at once. */
export const changeMessages = (data: MessageData, changes: readonly MessageChange[], nowMs: number): ChangeMessageAnswer[] => {
  bounded(changes.length, MOST_A_CALL);
  return changes.map(({ gid, version, dueAtMs, deadAtMs, expiresAtMs, state, definition, reason }) => {
    const there = data.records.get(gid);
    if (there === undefined || there.fields.v !== String(version)) return { status: "changed", fields: there?.fields };
    there.fields = { v: String(version + 1), s: state, d: definition === "" ? there.fields.d : definition, e: reason };
    move(data.due, gid, dueAtMs);
    move(data.dead, gid, deadAtMs);
    if (expiresAtMs !== "never") {
      data.finished.set(gid, expiresAtMs);
      if (expiresAtMs <= nowMs) data.records.delete(gid);
      else there.expiresAtMs = expiresAtMs;
    }
    return { status: "ok" };
  });
};

/** `message-claim.lua` */
export const claimMessages = (
  data: MessageData,
  limit: number,
  holdMs: number,
  putOff: PutOff,
  nowMs: number,
): { nowMs: number; gids: string[] } => {
  bounded(limit, MOST_SWEPT);
  for (const [gid, laterMs] of putOff.laterMs) if (data.due.get(gid) === putOff.dueAgainMs) data.due.set(gid, putOff.dueAgainMs + laterMs);
  const gids = ordered(data.due)
    .filter(([, score]) => score <= nowMs)
    .slice(0, limit)
    .map(([gid]) => gid);
  for (const gid of gids) data.due.set(gid, nowMs + holdMs);
  return { nowMs, gids };
};

/** `message-pull.lua` */
export const pullMessages = (data: MessageData, laterThanMs: number, limit: number, nowMs: number): { pulled: number; left: number } => {
  bounded(limit, MOST_SWEPT);
  const isLate = ([, score]: [string, number]): boolean => score > nowMs + laterThanMs;
  const late = ordered(data.due).filter(isLate).slice(0, limit);
  for (const [gid] of late) data.due.set(gid, nowMs);
  return { pulled: late.length, left: [...data.due].filter(isLate).length };
};

/** `message-purge.lua` */
export const purgeMessages = (data: MessageData, limit: number, nowMs: number): number => {
  bounded(limit, MOST_SWEPT);
  const over = ordered(data.finished)
    .filter(([, score]) => score <= nowMs)
    .slice(0, limit);
  for (const [gid] of over) {
    data.messages.delete(gid);
    data.finished.delete(gid);
  }
  return over.length;
};

/** `message-placement.lua` */
export const notePlacement = (data: MessageData, count: number, marginMs: number, nowMs: number): PlacementNotes => {
  if (count > 0) data.placements.set(String(count), nowMs);
  const oldest = Math.min(nowMs, ...data.messages.values());
  for (const [list, notedAtMs] of data.placements) if (notedAtMs < oldest - marginMs) data.placements.delete(list);
  return { nowMs, notedAtMs: new Map(ordered(data.placements).map(([list, notedAtMs]) => [Number(list), notedAtMs])) };
};

/** `message-topic.lua` */
export const changeTopic = (data: MessageData, topic: string, expected: string, value: string): ChangeTopicAnswer => {
  const there = data.topics.get(topic) ?? "";
  if (there !== expected) return { status: "changed", value: there };
  if (value === "") data.topics.delete(topic);
  else data.topics.set(topic, value);
  return { status: "ok" };
};
