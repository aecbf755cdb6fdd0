import type { MessageFields } from "#lua/message/message-fields";
import { isMoment } from "#protocol/iso-time";

/** dtm's names, as they are on the wire. */
export const MessageState = { prepared: "prepared", submitted: "submitted", succeed: "succeed", failed: "failed" } as const;
export type MessageState = (typeof MessageState)[keyof typeof MessageState];

export const isFinished = (state: MessageState): boolean => state === MessageState.succeed || state === MessageState.failed;

/** One call that the message makes when it is submitted. */
export interface Branch {
  /** `01`, `02`, ...; a topic with several subscribers has `01-01`, `01-02`, ... */
  readonly branchId: string;
  /** empty: nothing to call, which is a success */
  readonly url: string;
  readonly payload: string;
}

/** What the caller said at prepare (or at submit, if it was not prepared); it never changes, but for `delayMs`. */
export interface Definition {
  /** the steps as they came, `topic://` and all */
  readonly steps: readonly string[];
  readonly branches: readonly Branch[];
  /** asked when the message was prepared and neither submitted nor aborted; empty where it was submitted at once */
  readonly queryUrl: string;
  readonly branchHeaders: Readonly<Record<string, string>>;
  readonly concurrent: boolean;
  readonly waitResult: boolean;
  readonly customData: string;
  /** from submit to the first delivery */
  readonly delayMs: number;
  /** from prepare to the first query-back; 0 = the coordinator's default */
  readonly timeoutToFailMs: number;
  /** time-out of one call; 0 = the coordinator's default */
  readonly requestTimeoutMs: number;
  /** before the second try; doubled with each further one; 0 = the coordinator's default */
  readonly retryIntervalMs: number;
}

/** All times in ms of the clock of the Redis that holds the message. */
export interface MessageRecord {
  /** raised with every change, from 1 */
  readonly version: number;
  readonly state: MessageState;
  readonly definition: Definition;
  /** for each branch when it succeeded, 0 if it has not */
  readonly branchDoneAtMs: readonly number[];
  /** rounds of calls that ended without success, since the beginning */
  readonly rounds: number;
  /** of those, the failed ones since the last progress: the exponent of the back-off */
  readonly failures: number;
  /** a dead letter: it waits for an operator */
  readonly dead: boolean;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** 0 while it is not finished */
  readonly finishedAtMs: number;
  /** why the last round failed, or why the message failed */
  readonly reason: string;
}

/** A record that our code never writes: somebody else changed the hash. It stays where it is, and is told of; the others go on. */
export class CorruptMessage extends Error {
  override readonly name = "CorruptMessage";
}

const STATES: ReadonlySet<string> = new Set(Object.values(MessageState));

/** State and everything that changes with it, as one field: a record is written three times in its life, and each field costs. */
export const encodeState = (record: MessageRecord): string =>
  `${record.state} ${record.rounds} ${record.failures} ${record.dead ? 1 : 0} ${record.createdAtMs} ${record.updatedAtMs} ${record.finishedAtMs} ${record.branchDoneAtMs.join(",")}`;

/** What most messages do not say: it is left out of what is stored, half of its bytes. */
const UNSAID = {
  queryUrl: "",
  branchHeaders: {},
  concurrent: false,
  waitResult: false,
  customData: "",
  delayMs: 0,
  timeoutToFailMs: 0,
  requestTimeoutMs: 0,
  retryIntervalMs: 0,
} as const satisfies Omit<Definition, "steps" | "branches">;

export const encodeDefinition = (definition: Definition): string =>
  JSON.stringify({
    steps: definition.steps,
    branches: definition.branches,
    queryUrl: definition.queryUrl || undefined,
    branchHeaders: Object.keys(definition.branchHeaders).length === 0 ? undefined : definition.branchHeaders,
    concurrent: definition.concurrent || undefined,
    waitResult: definition.waitResult || undefined,
    customData: definition.customData || undefined,
    delayMs: definition.delayMs || undefined,
    timeoutToFailMs: definition.timeoutToFailMs || undefined,
    requestTimeoutMs: definition.requestTimeoutMs || undefined,
    retryIntervalMs: definition.retryIntervalMs || undefined,
  } satisfies { [name in keyof Definition]: Definition[name] | undefined });

const isText = (value: unknown): boolean => typeof value === "string";
const isBranch = (value: unknown): boolean => {
  const { branchId, url, payload } = (value ?? {}) as Partial<Branch>;
  return isText(branchId) && isText(url) && isText(payload);
};

/** What everybody relies on is looked at, the rest is as it was written; undefined if that is not there. */
const readDefinition = (text: string): Definition | undefined => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const definition = { ...UNSAID, ...(value as Definition) };
  const { steps, branches, queryUrl } = definition;
  const isWhole = Array.isArray(steps) && steps.every(isText) && Array.isArray(branches) && branches.every(isBranch) && isText(queryUrl);
  return isWhole ? definition : undefined;
};

/** @throws CorruptMessage */
export const decodeRecord = (gid: string, fields: MessageFields): MessageRecord => {
  const number = (name: string, text: string | undefined): number => {
    const value = Number(text);
    if (text === undefined || text === "" || !Number.isSafeInteger(value) || value < 0 || !isMoment(value))
      throw new CorruptMessage(`message ${gid}: ${name} is '${text}'`);
    return value;
  };
  const [state = "", rounds, failures, dead, createdAtMs, updatedAtMs, finishedAtMs, done = ""] = fields.s.split(" ");
  if (!STATES.has(state)) throw new CorruptMessage(`message ${gid}: state '${state}'`);
  const definition = readDefinition(fields.d);
  if (definition === undefined) throw new CorruptMessage(`message ${gid}: the definition cannot be read`);
  return {
    version: number("version", fields.v),
    state: state as MessageState,
    definition,
    branchDoneAtMs: done === "" ? [] : done.split(",").map((at) => number("a branch's time", at)),
    rounds: number("rounds", rounds),
    failures: number("failures", failures),
    dead: dead === "1",
    createdAtMs: number("time of creation", createdAtMs),
    updatedAtMs: number("time of change", updatedAtMs),
    finishedAtMs: number("time of its end", finishedAtMs),
    reason: fields.e ?? "",
  };
};
