import { describe, expect, it } from "vitest";
import { decide, Effect, retryDelayMs, Verdict, type MessageEvent, type MessagePolicy } from "./machine.ts";
import type { Definition, MessageRecord } from "./record.ts";

const policy: MessagePolicy = { queryAfterMs: 3_000, retryMs: 1_000, backoffMostMs: 8_000, rounds: 3, retentionMs: 50_000 };
const NOW = 1_000_000;

const definition: Definition = {
  steps: ["http://a/", "http://b/"],
  branches: [
    { branchId: "01", url: "http://a/", payload: "1" },
    { branchId: "02", url: "http://b/", payload: "2" },
  ],
  queryUrl: "http://q/",
  branchHeaders: {},
  concurrent: false,
  waitResult: false,
  customData: "",
  delayMs: 0,
  timeoutToFailMs: 0,
  requestTimeoutMs: 0,
  retryIntervalMs: 0,
};

const record = (patch: Partial<MessageRecord>): MessageRecord => ({
  version: 7,
  state: "prepared",
  definition,
  branchDoneAtMs: [0, 0],
  rounds: 0,
  failures: 0,
  dead: false,
  createdAtMs: 1,
  updatedAtMs: 2,
  finishedAtMs: 0,
  reason: "",
  ...patch,
});

const STATES = {
  none: undefined,
  prepared: record({}),
  "prepared, last try": record({ failures: 2 }),
  "prepared, dead": record({ failures: 3, dead: true }),
  submitted: record({ state: "submitted" }),
  "submitted, one done": record({ state: "submitted", branchDoneAtMs: [9, 0], failures: 1 }),
  "submitted, last try": record({ state: "submitted", failures: 2 }),
  "submitted, dead": record({ state: "submitted", failures: 3, dead: true }),
  succeed: record({ state: "succeed", branchDoneAtMs: [9, 9], finishedAtMs: 9 }),
  failed: record({ state: "failed", finishedAtMs: 9 }),
} as const;
type StateName = keyof typeof STATES;

const answered = (type: "queryAnswered" | "roundFailed", verdict: Verdict): MessageEvent => ({
  type,
  verdict,
  reason: "why",
  fraction: 0.5,
});
const EVENTS = {
  prepare: { type: "prepare", definition },
  submit: { type: "submit", definition },
  "submit what is prepared": { type: "submit", definition: undefined },
  abort: { type: "abort", reason: "why" },
  forceStop: { type: "forceStop", reason: "why" },
  pull: { type: "pull" },
  retry: { type: "retry" },
  fail: { type: "fail", reason: "why" },
  due: { type: "due" },
  "query: yes": answered("queryAnswered", Verdict.success),
  "query: no": answered("queryAnswered", Verdict.failure),
  "query: ongoing": answered("queryAnswered", Verdict.ongoing),
  "query: error": answered("queryAnswered", Verdict.error),
  "delivered 1": { type: "delivered", indexes: [1] },
  "delivered all": { type: "delivered", indexes: [0, 1] },
  "round: ongoing": answered("roundFailed", Verdict.ongoing),
  "round: failure": answered("roundFailed", Verdict.failure),
  "round: error": answered("roundFailed", Verdict.error),
} as const satisfies Record<string, MessageEvent>;
type EventName = keyof typeof EVENTS;

/**
 * `=` nothing changes; otherwise the state after it. `!` conflict, `?` unknown, else ok. `+effect`. `@ms` due so long
 * from now, `@-` due never, `@=` due as before.
 */
const outcome = (state: StateName, event: EventName): string => {
  const { reply, change, effects } = decide(policy, STATES[state], EVENTS[event], NOW);
  const sign = reply.code === "ok" ? "" : reply.code === "conflict" ? "!" : "?";
  const after = change === undefined ? "=" : `${change.record.dead ? "dead " : ""}${change.record.state}`;
  const due =
    change === undefined ? "" : change.dueAtMs === "none" ? " @-" : change.dueAtMs === "keep" ? " @=" : ` @${change.dueAtMs - NOW}`;
  return `${sign}${after}${due}${effects.map((effect) => ` +${effect}`).join("")}`;
};

const TABLE: Readonly<Record<StateName, Readonly<Record<EventName, string>>>> = (() => {
  const idle = {
    "query: yes": "=",
    "query: no": "=",
    "query: ongoing": "=",
    "query: error": "=",
    "round: ongoing": "=",
    "round: failure": "=",
    "round: error": "=",
  };
  const undelivered = { "delivered 1": "=", "delivered all": "=" };
  const none: Record<EventName, string> = {
    ...idle,
    ...undelivered,
    prepare: "prepared @3000",
    submit: "submitted @0 +deliver",
    "submit what is prepared": "?=",
    abort: "?=",
    forceStop: "?=",
    pull: "?=",
    retry: "?=",
    fail: "?=",
    due: "=",
  };
  const prepared: Record<EventName, string> = {
    ...idle,
    ...undelivered,
    prepare: "=",
    submit: "submitted @0 +deliver",
    "submit what is prepared": "submitted @0 +deliver",
    abort: "failed @-",
    forceStop: "failed @-",
    pull: "prepared @0",
    retry: "!=",
    fail: "!=",
    due: "= +query",
    "query: yes": "submitted @0 +deliver",
    "query: no": "failed @-",
    "query: ongoing": "prepared @750",
    "query: error": "prepared @750",
  };
  const submitted: Record<EventName, string> = {
    ...idle,
    prepare: "!=",
    submit: "=",
    "submit what is prepared": "=",
    abort: "!=",
    forceStop: "failed @-",
    pull: "submitted @0",
    retry: "!=",
    fail: "!=",
    due: "= +deliver",
    "delivered 1": "submitted @=",
    "delivered all": "succeed @-",
    "round: ongoing": "submitted @750",
    "round: failure": "submitted @750",
    "round: error": "submitted @750",
  };
  const over = { forceStop: "!=", pull: "!=", retry: "!=", fail: "!=", due: "=", prepare: "!=" };
  return {
    none,
    prepared,
    "prepared, last try": { ...prepared, "query: error": "dead prepared @- +alert" },
    "prepared, dead": {
      ...prepared,
      ...idle,
      pull: "!=",
      retry: "prepared @0",
      fail: "failed @-",
      due: "=",
    },
    submitted,
    "submitted, one done": {
      ...submitted,
      "delivered 1": "succeed @-",
      "round: failure": "submitted @1500",
      "round: error": "submitted @1500",
    },
    "submitted, last try": { ...submitted, "round: failure": "dead submitted @- +alert", "round: error": "dead submitted @- +alert" },
    "submitted, dead": {
      ...submitted,
      ...idle,
      pull: "!=",
      retry: "submitted @0",
      fail: "failed @-",
      due: "=",
      // a call that was still on the wire came back: it happened
      "delivered 1": "dead submitted @=",
    },
    succeed: { ...idle, ...undelivered, ...over, submit: "=", "submit what is prepared": "=", abort: "!=" },
    failed: {
      ...idle,
      ...over,
      submit: "!=",
      "submit what is prepared": "!=",
      abort: "=",
      "delivered 1": "failed @=",
      "delivered all": "failed @=",
    },
  };
})();

describe("decide", () => {
  const cells = Object.keys(STATES).flatMap((state) =>
    Object.keys(EVENTS).map((event) => [state as StateName, event as EventName] as const),
  );
  it.each(cells)("%s x %s", (state, event) => {
    expect(outcome(state, event)).toBe(TABLE[state][event]);
  });

  it.each(cells)("%s x %s keeps what must not change", (state, event) => {
    const before = STATES[state];
    const { change } = decide(policy, before, EVENTS[event], NOW);
    if (change === undefined) return;
    const { record: after } = change;
    expect(after.version).toBe((before?.version ?? 0) + 1);
    expect(after.createdAtMs).toBe(before?.createdAtMs ?? NOW);
    // a success is never forgotten, and a finished message stays what it is
    for (const [i, at] of (before?.branchDoneAtMs ?? []).entries()) if (at > 0) expect(after.branchDoneAtMs[i]).toBe(at);
    if (before?.state === "succeed" || before?.state === "failed") expect(after.state).toBe(before.state);
    // unfinished records never expire; a finished one does, once
    const ended = (after.state === "succeed" || after.state === "failed") && before?.state !== after.state;
    expect(change.expiresAtMs).toBe(ended ? NOW + policy.retentionMs : "never");
    // whatever is unfinished waits for something, or for an operator
    if (!ended && change.dueAtMs !== "keep") expect(change.dueAtMs === "none").toBe(after.dead);
    expect(change.deadAtMs).toBe(after.dead === (before?.dead ?? false) ? "keep" : after.dead ? NOW : "none");
  });

  it("says the state in a conflict", () => {
    expect(decide(policy, STATES.failed, EVENTS.submit, NOW).reply).toEqual({
      code: "conflict",
      message: "current status 'failed', cannot submit",
    });
  });

  it("delays from submit, with the delay that submit says, and the branches of prepare", () => {
    const submit = { type: "submit", definition: { ...definition, branches: [], customData: '{"delay":2}', delayMs: 2_000 } } as const;
    const { change, effects } = decide(policy, STATES.prepared, submit, NOW);
    expect(change?.dueAtMs).toBe(NOW + 2_000);
    expect(change?.record.definition.branches).toEqual(definition.branches);
    expect(effects).toEqual([]);
  });

  it("ends a message that has nothing to call with its submit, or with the query-back's yes; not if it is delayed", () => {
    const branches = [{ branchId: "01", url: "", payload: "1" }];
    const empty = record({ definition: { ...definition, branches }, branchDoneAtMs: [0] });
    for (const event of [EVENTS.submit, EVENTS["query: yes"]]) {
      const { change, effects } = decide(policy, empty, event, NOW);
      expect(change).toMatchObject({ dueAtMs: "none", expiresAtMs: NOW + policy.retentionMs });
      expect(change?.record).toMatchObject({ state: "succeed", branchDoneAtMs: [NOW], finishedAtMs: NOW });
      expect(effects).toEqual([]);
    }
    const delayed = { ...empty, definition: { ...empty.definition, delayMs: 5 } };
    expect(decide(policy, delayed, EVENTS["query: yes"], NOW).change?.record.state).toBe("submitted");
  });

  it("has a message without branches succeed by an empty round", () => {
    const empty = record({ state: "submitted", definition: { ...definition, branches: [] }, branchDoneAtMs: [] });
    expect(decide(policy, empty, { type: "delivered", indexes: [] }, NOW).change?.record.state).toBe("succeed");
    expect(decide(policy, STATES.submitted, { type: "delivered", indexes: [] }, NOW).change).toBeUndefined();
    expect(decide(policy, empty, { type: "due" }, NOW).effects).toEqual([Effect.deliver]);
  });
});

describe("retryDelayMs", () => {
  it("doubles, is capped, and is drawn from its upper half", () => {
    const at = (failures: number, fraction: number): number => retryDelayMs(policy, definition, failures, fraction);
    expect([0, 1, 2, 3, 4, 200].map((failures) => at(failures, 1))).toEqual([1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    expect(at(3, 0)).toBe(4_000);
  });

  it("begins at the message's own interval, even above the cap", () => {
    expect(retryDelayMs(policy, { ...definition, retryIntervalMs: 200 }, 1, 1)).toBe(400);
    expect(retryDelayMs(policy, { ...definition, retryIntervalMs: 20_000 }, 5, 1)).toBe(20_000);
  });
});
