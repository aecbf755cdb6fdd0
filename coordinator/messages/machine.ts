import { isFinished, MessageState, type Definition, type MessageRecord } from "./record.ts";

/** What a call's answer said (dtm-result.ts, DESIGN 6). */
export const Verdict = { success: "success", ongoing: "ongoing", failure: "failure", error: "error" } as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export type MessageEvent =
  | { readonly type: "prepare"; readonly definition: Definition }
  /** without a definition: of a message that its caller has prepared */
  | { readonly type: "submit"; readonly definition: Definition | undefined }
  | { readonly type: "abort"; readonly reason: string }
  /** an operator: it ends here, whatever it is */
  | { readonly type: "forceStop"; readonly reason: string }
  /** an operator: what it waits for, now */
  | { readonly type: "pull" }
  /** an operator, about a dead letter */
  | { readonly type: "retry" }
  | { readonly type: "fail"; readonly reason: string }
  /** the sweep found it due */
  | { readonly type: "due" }
  /** `fraction` is uniform in [0, 1): the jitter */
  | { readonly type: "queryAnswered"; readonly verdict: Verdict; readonly reason: string; readonly fraction: number }
  /** branches succeeded; a round that had none left to call says so with an empty list */
  | { readonly type: "delivered"; readonly indexes: readonly number[] }
  /** a round ended and some branch did not succeed */
  | { readonly type: "roundFailed"; readonly verdict: Verdict; readonly reason: string; readonly fraction: number };

export const Effect = {
  /** ask the query URL */
  query: "query",
  /** call the branches that are not done, then tell `delivered` and `roundFailed` */
  deliver: "deliver",
  /** it became a dead letter: tell the operator's hook */
  alert: "alert",
} as const;
export type Effect = (typeof Effect)[keyof typeof Effect];

export const EventReply = { ok: "ok", unknown: "unknown", conflict: "conflict" } as const;

/** What the caller of an event hears; a conflict says why. */
export type EventReply = { readonly code: "ok" } | { readonly code: "unknown" } | { readonly code: "conflict"; readonly message: string };

/** What has to be stored. All times in ms of Redis's clock. */
export interface Change {
  readonly record: MessageRecord;
  readonly dueAtMs: number | "keep" | "none";
  /** `keep` unless it became, or stopped being, a dead letter */
  readonly deadAtMs: number | "keep" | "none";
  readonly expiresAtMs: number | "never";
}

export interface Decided {
  readonly reply: EventReply;
  /** undefined: nothing changes */
  readonly change: Change | undefined;
  readonly effects: readonly Effect[];
}

export interface MessagePolicy {
  /** from prepare to the first query-back */
  readonly queryAfterMs: number;
  /** before the second try */
  readonly retryMs: number;
  /** back-off never grows beyond */
  readonly backoffMostMs: number;
  /** failed rounds in a row before it is a dead letter */
  readonly rounds: number;
  /** how long a finished record is kept */
  readonly retentionMs: number;
}

const ok: EventReply = { code: EventReply.ok };
const nothing = (reply: EventReply, effects: readonly Effect[] = []): Decided => ({ reply, change: undefined, effects });
const conflict = (message: string): Decided => nothing({ code: EventReply.conflict, message });
const unknown = nothing({ code: EventReply.unknown });

/** What may become of a message that is there: each names the record that follows, and when it is due. */
const changesOf = (policy: MessagePolicy, before: MessageRecord, nowMs: number) => {
  const change = (patch: Partial<MessageRecord>, dueAtMs: Change["dueAtMs"], effects: readonly Effect[] = []): Decided => {
    const record: MessageRecord = { ...before, ...patch, version: before.version + 1, updatedAtMs: nowMs };
    const ended = isFinished(record.state) && !isFinished(before.state);
    const dead = record.dead === before.dead ? "keep" : record.dead ? nowMs : "none";
    return {
      reply: ok,
      change: { record, dueAtMs: ended ? "none" : dueAtMs, deadAtMs: dead, expiresAtMs: ended ? nowMs + policy.retentionMs : "never" },
      effects,
    };
  };
  const finish = (state: "succeed" | "failed", patch: Partial<MessageRecord> = {}): Decided =>
    change({ ...patch, state, dead: false, finishedAtMs: nowMs }, "none");
  const submit = (definition: Definition): Decided => {
    const patch = { definition, failures: 0, dead: false, reason: "" };
    // nothing to call, which is a success: it ends here, and is written once instead of twice
    if (definition.delayMs === 0 && definition.branches.every(({ url }) => url === ""))
      return finish(MessageState.succeed, { ...patch, branchDoneAtMs: definition.branches.map(() => nowMs) });
    const effects = definition.delayMs > 0 ? [] : [Effect.deliver];
    return change({ ...patch, state: MessageState.submitted }, nowMs + definition.delayMs, effects);
  };
  const again = (verdict: Verdict, reason: string, fraction: number): Decided => {
    const rounds = before.rounds + 1;
    // "ongoing" is an answer: same interval, and it never makes a dead letter
    if (verdict === Verdict.ongoing) return change({ rounds, reason }, nowMs + retryDelayMs(policy, before.definition, 0, fraction));
    const failures = before.failures + 1;
    if (failures >= policy.rounds) return change({ rounds, failures, reason, dead: true }, "none", [Effect.alert]);
    return change({ rounds, failures, reason }, nowMs + retryDelayMs(policy, before.definition, failures - 1, fraction));
  };
  return { change, finish, submit, again };
};

/**
 * The life of a two-phase message as a pure function: what an event at `nowMs` makes of it, what to store, what to do.
 * Doing is the runner's; storing is conditional on the version, so a lost race only means deciding again.
 */
export const decide = (policy: MessagePolicy, before: MessageRecord | undefined, event: MessageEvent, nowMs: number): Decided => {
  if (before === undefined) return decideNew(policy, event, nowMs);
  const { change, finish, submit, again } = changesOf(policy, before, nowMs);
  const { state, dead } = before;

  switch (event.type) {
    case "prepare":
      return state === MessageState.prepared ? nothing(ok) : conflict(`current status '${state}', cannot prepare`);
    case "submit":
      if (state === MessageState.failed) return conflict(`current status '${state}', cannot submit`);
      if (state !== MessageState.prepared) return nothing(ok);
      // dtm's client says the delay only now; the branches are those of prepare
      return submit(
        event.definition === undefined || event.definition.customData === ""
          ? before.definition
          : { ...before.definition, customData: event.definition.customData, delayMs: event.definition.delayMs },
      );
    case "abort":
      if (state === MessageState.failed) return nothing(ok);
      return state === MessageState.prepared
        ? finish(MessageState.failed, { reason: event.reason })
        : conflict(`current status '${state}', cannot abort`);
    case "forceStop":
      return isFinished(state) ? conflict(`current status '${state}', cannot stop`) : finish(MessageState.failed, { reason: event.reason });
    case "pull":
      if (isFinished(state)) return conflict(`current status '${state}', nothing is due`);
      return dead ? conflict("it is a dead letter: retry it or fail it") : change({}, nowMs);
    case "retry":
      return dead ? change({ dead: false, failures: 0 }, nowMs) : conflict("it is not a dead letter");
    case "fail":
      return dead ? finish(MessageState.failed, { reason: event.reason }) : conflict("it is not a dead letter");
    case "due":
      if (dead || isFinished(state)) return nothing(ok);
      return nothing(ok, [state === MessageState.prepared ? Effect.query : Effect.deliver]);
    case "queryAnswered":
      // submitted, aborted or stopped while the question was on the wire: that decided it
      if (dead || state !== MessageState.prepared) return nothing(ok);
      if (event.verdict === Verdict.success) return submit(before.definition);
      if (event.verdict === Verdict.failure) return finish(MessageState.failed, { reason: event.reason });
      return again(event.verdict, event.reason, event.fraction);
    case "delivered": {
      if (state === MessageState.prepared) return nothing(ok);
      const branchDoneAtMs = before.branchDoneAtMs.map((at, i) => (at === 0 && event.indexes.includes(i) ? nowMs : at));
      const progress = branchDoneAtMs.some((at, i) => at !== before.branchDoneAtMs[i]);
      // a call that came back after the message was stopped: it happened, so it is noted
      if (state !== MessageState.submitted) return progress ? change({ branchDoneAtMs }, "keep") : nothing(ok);
      if (branchDoneAtMs.every((at) => at > 0)) return finish(MessageState.succeed, { branchDoneAtMs, reason: "" });
      return progress ? change({ branchDoneAtMs, failures: 0 }, "keep") : nothing(ok);
    }
    case "roundFailed":
      return dead || state !== MessageState.submitted ? nothing(ok) : again(event.verdict, event.reason, event.fraction);
    default:
      throw new Error(`no such event: ${JSON.stringify(event satisfies never)}`);
  }
};

const decideNew = (policy: MessagePolicy, event: MessageEvent, nowMs: number): Decided => {
  if (event.type === "prepare" || event.type === "submit") {
    const { definition } = event;
    if (definition === undefined) return unknown;
    const prepared = event.type === "prepare";
    const record: MessageRecord = {
      version: 1,
      state: prepared ? MessageState.prepared : MessageState.submitted,
      definition,
      branchDoneAtMs: definition.branches.map(() => 0),
      rounds: 0,
      failures: 0,
      dead: false,
      createdAtMs: nowMs,
      updatedAtMs: nowMs,
      finishedAtMs: 0,
      reason: "",
    };
    const waitMs = prepared ? definition.timeoutToFailMs || policy.queryAfterMs : definition.delayMs;
    const effects = prepared || definition.delayMs > 0 ? [] : [Effect.deliver];
    return { reply: ok, change: { record, dueAtMs: nowMs + waitMs, deadAtMs: "keep", expiresAtMs: "never" }, effects };
  }
  return event.type === "abort" || event.type === "forceStop" || event.type === "pull" || event.type === "retry" || event.type === "fail"
    ? unknown
    : nothing(ok);
};

/**
 * Doubled with each failure, capped, then drawn from its upper half: 1,000 messages that failed together do not come
 * back together.
 */
export const retryDelayMs = (policy: MessagePolicy, definition: Definition, failures: number, fraction: number): number => {
  const first = definition.retryIntervalMs || policy.retryMs;
  const most = Math.max(policy.backoffMostMs, first);
  return Math.round(Math.min(first * 2 ** Math.min(failures, 40), most) * (0.5 + fraction / 2));
};
