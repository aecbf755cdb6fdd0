import * as fc from "fast-check";
import {
  changeMessages,
  changeTopic,
  claimMessages,
  createMessages,
  messageKey,
  messageKeys,
  notePlacement,
  pullMessages,
  purgeMessages,
  topicsKey,
  yieldMessage,
} from "#lua";
import { hashOf, zsetText, type KeySpace, type Stored } from "./key-space.ts";
import { tellClock, tellFull, type Lockstep } from "./lockstep.ts";
import * as model from "./message-model.ts";
import { asker, mostly, sequences, steps, type Question } from "./step.ts";

/** Topics are on shard 0, and a list of messages on every shard. */
const SHARD = 0;
/** Before the held clock's first tick: later than any real time, so that no record expires by itself. */
const START_MS = 4_000_000_000_000;
const TAKES_MEMORY = new Set(["message-create", "message-topic", "message-yield"]);

export interface MessageModel {
  readonly data: model.MessageData;
  clockMs: number;
  isPrimary: boolean;
}

export const messageModel = (): MessageModel => ({ data: model.noMessages(), clockMs: START_MS, isPrimary: true });

export const messageSpace = ({ data }: MessageModel): KeySpace => {
  const space = new Map<string, Stored>();
  const { due, messages, finished, dead, placements } = messageKeys(SHARD);
  for (const [key, scores] of [
    [due, data.due],
    [messages, data.messages],
    [finished, data.finished],
    [dead, data.dead],
    [placements, data.placements],
  ] as const)
    if (scores.size > 0) space.set(key, { text: zsetText(scores) });
  for (const [gid, { fields, expiresAtMs }] of data.records) {
    const text = hashOf(Object.entries(fields) as [string, string][]);
    space.set(messageKey(SHARD, gid), expiresAtMs === undefined ? { text } : { text, expiresAtMs });
  }
  for (const [gid, { count, holdMs }] of data.yields)
    space.set(messageKey(SHARD, gid), { text: hashOf([["m", count]]), expiresInMs: holdMs });
  if (data.topics.size > 0) space.set(topicsKey, { text: hashOf(data.topics) });
  return space;
};

const ask = (state: MessageModel, lockstep: Lockstep, question: Question): void => {
  const answer = (): unknown => {
    if (!state.isPrimary) throw new Error("READONLY");
    return question.answer();
  };
  asker(TAKES_MEMORY, () => state.isPrimary)(lockstep, { ...question, answer });
};

const gid = fc.constantFrom("g1", "g2", "g3", "g4", "g5", "g6");
/** added to the held clock: edges are met to the millisecond */
const off = fc.constantFrom(-1_000, -1, 0, 0, 1, 2, 1_000, 60_000);

const createStep = steps<MessageModel, { gid: string; created: number; due: number; until: number; state: string; definition: string }[]>(
  "create",
  fc.array(
    fc.record({
      gid,
      created: off,
      due: off,
      until: mostly(1_000, -1, 0, 1),
      state: fc.constantFrom("prepared", "submitted"),
      definition: fc.constantFrom("{}", "[1]"),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  (state, lockstep, drawn) => {
    const messages = drawn.map(({ gid, created, due, until, state: s, definition }) => ({
      gid,
      createdAtMs: state.clockMs + created,
      dueAtMs: state.clockMs + due,
      untilMs: state.clockMs + until,
      state: s,
      definition,
    }));
    ask(state, lockstep, {
      script: "message-create",
      request: messages,
      send: (redis) => createMessages(redis, { shard: SHARD, messages }),
      answer: () => model.createMessages(state.data, messages, state.clockMs),
    });
  },
);

/** Hold times that the comparison of key spaces tells apart. */
const yieldStep = steps<MessageModel, { gid: string; count: number; holdMs: number }>(
  "yield",
  fc.record({ gid, count: fc.integer({ min: 1, max: 12 }), holdMs: fc.constantFrom(600_000, 1_800_000) }),
  (state, lockstep, request) =>
    ask(state, lockstep, {
      script: "message-yield",
      request,
      send: (redis) => yieldMessage(redis, { shard: SHARD, ...request }),
      answer: () => model.yieldMessage(state.data, request.gid, request.count, request.holdMs),
    }),
);

type Drawn = number | "keep" | "none";
const moved: fc.Arbitrary<Drawn> = fc.oneof(off, fc.constantFrom<Drawn>("keep", "none"));
const movedFrom = (drawn: Drawn, nowMs: number): Drawn => (typeof drawn === "number" ? nowMs + drawn : drawn);

const changeStep = steps<
  MessageModel,
  {
    gid: string;
    version: number;
    due: Drawn;
    dead: Drawn;
    expires: number | "never" | "past";
    state: string;
    definition: string;
    reason: string;
  }[]
>(
  "change",
  fc.array(
    fc.record({
      gid,
      version: mostly(0, -1, 1),
      due: moved,
      dead: moved,
      expires: fc.oneof(
        { weight: 3, arbitrary: fc.constant("never" as const) },
        { weight: 2, arbitrary: off },
        { weight: 1, arbitrary: fc.constant("past" as const) },
      ),
      state: fc.constantFrom("submitted", "succeed", "aborted"),
      definition: fc.constantFrom("", "", "[2]"),
      reason: fc.constantFrom("", "refused"),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  (state, lockstep, drawn) => {
    const { clockMs, data } = state;
    // a batch may hold a message twice: the second change is meant for what the first leaves, or is not
    const changes = drawn.map(({ gid, version, due, dead, expires, ...rest }) => ({
      gid,
      version: Number(data.records.get(gid)?.fields.v ?? 1) + version,
      dueAtMs: movedFrom(due, clockMs),
      deadAtMs: movedFrom(dead, clockMs),
      expiresAtMs: expires === "never" ? expires : expires === "past" ? 1_000 : clockMs + expires,
      ...rest,
    }));
    ask(state, lockstep, {
      script: "message-change",
      request: changes,
      send: (redis) => changeMessages(redis, { shard: SHARD, changes }),
      answer: () => model.changeMessages(data, changes, START_MS - 1_000_000),
    });
  },
);

const limit = mostly(2, 0, 1, 1_000, 1_001);

/** Puts off some that are due at the same time as the first of them, as those of one claim are, and some that are not. */
const claimStep = steps<MessageModel, { limit: number; holdMs: number; found: string[]; laterMs: number }>(
  "claim",
  fc.record({
    limit,
    holdMs: fc.constantFrom(0, 1, 5_000),
    found: fc.uniqueArray(gid, { maxLength: 3 }),
    laterMs: fc.constantFrom(0, 1, 30_000),
  }),
  (state, lockstep, { limit, holdMs, found, laterMs }) => {
    const putOff = { dueAgainMs: state.data.due.get(found[0] ?? "") ?? 0, laterMs: new Map(found.map((gid) => [gid, laterMs])) };
    ask(state, lockstep, {
      script: "message-claim",
      request: { limit, holdMs, putOff: [putOff.dueAgainMs, ...putOff.laterMs] },
      send: (redis) => claimMessages(redis, { shard: SHARD, limit, holdMs, putOff }),
      answer: () => model.claimMessages(state.data, limit, holdMs, putOff, state.clockMs),
    });
  },
);

const pullStep = steps<MessageModel, [number, number]>(
  "pull",
  fc.tuple(fc.constantFrom(0, 1, 2, 1_000), limit),
  (state, lockstep, [laterThanMs, limit]) =>
    ask(state, lockstep, {
      script: "message-pull",
      request: { laterThanMs, limit },
      send: (redis) => pullMessages(redis, { shard: SHARD, laterThanMs, limit }),
      answer: () => model.pullMessages(state.data, laterThanMs, limit, state.clockMs),
    }),
);

const purgeStep = steps<MessageModel, number>("purge", limit, (state, lockstep, limit) =>
  ask(state, lockstep, {
    script: "message-purge",
    request: limit,
    send: (redis) => purgeMessages(redis, { shard: SHARD, limit }),
    answer: () => model.purgeMessages(state.data, limit, state.clockMs),
  }),
);

const placementStep = steps<MessageModel, [number, number]>(
  "placement",
  fc.tuple(fc.constantFrom(0, 1, 2, 10), fc.constantFrom(0, 1, 1_000)),
  (state, lockstep, [count, marginMs]) =>
    ask(state, lockstep, {
      script: "message-placement",
      request: { count, marginMs },
      send: (redis) => notePlacement(redis, { shard: SHARD, count, marginMs }),
      answer: () => model.notePlacement(state.data, count, marginMs, state.clockMs),
    }),
);

const value = fc.constantFrom("", "[a]", "[b]");
const topicStep = steps<MessageModel, { topic: string; expected: string | undefined; value: string }>(
  "topic",
  fc.record({ topic: fc.constantFrom("t1", "t2"), expected: fc.option(value, { nil: undefined }), value }),
  (state, lockstep, { topic, expected, value }) => {
    const request = { topic, expected: expected ?? state.data.topics.get(topic) ?? "", value };
    ask(state, lockstep, {
      script: "message-topic",
      request,
      send: (redis) => changeTopic(redis, request),
      answer: () => model.changeTopic(state.data, topic, request.expected, value),
    });
  },
);

/** A record's own expiry, which the server would do by itself. */
const expireStep = steps<MessageModel, string>("expire", gid, (state, lockstep, gid) => {
  if (!state.isPrimary) return;
  lockstep.tell("del", messageKey(SHARD, gid));
  state.data.records.delete(gid);
  state.data.yields.delete(gid);
});

const tickStep = steps<MessageModel, number>("tick", fc.constantFrom(1, 1, 2, -1, 1_000, 60_000), (state, lockstep, ms) => {
  if (!state.isPrimary) return;
  state.clockMs += ms;
  tellClock(lockstep, state.clockMs);
});

const fullStep = steps<MessageModel, boolean>("full", fc.boolean(), (_, lockstep, isFull) => tellFull(lockstep, isFull));

const roleStep = steps<MessageModel, boolean>("role", mostly(true, false), (state, lockstep, isPrimary) => {
  state.isPrimary = isPrimary;
  if (isPrimary) lockstep.tell("replicaof", "no", "one");
  else lockstep.tell("replicaof", "127.0.0.1", 1);
});

export const messageCommands = (maxCommands: number): ReturnType<typeof sequences<MessageModel>> =>
  sequences<MessageModel>(
    [
      [6, createStep],
      [2, yieldStep],
      [8, changeStep],
      [4, claimStep],
      [2, pullStep],
      [3, purgeStep],
      [3, placementStep],
      [3, topicStep],
      [2, expireStep],
      [3, tickStep],
      [1, fullStep],
      [1, roleStep],
    ],
    maxCommands,
  );
