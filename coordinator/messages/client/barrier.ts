import { adjustBarrier, BarrierAnswer, type AdjustBarrier } from "#lua/barrier/barrier-adjust";
import { queryBarrier } from "#lua/barrier/barrier-query";
import { revertBarrier } from "#lua/barrier/barrier-revert";
import { barrierKey } from "#lua/core/keys";
import type { ScriptRedis } from "#lua/core/script";

/** What a local step came to. Both `done` and `duplicate` mean that it happened, once. */
export const Step = { done: "done", duplicate: "duplicate", failure: "failure" } as const;
export type Step = (typeof Step)[keyof typeof Step];

/** The parameters by which the coordinator says what a call is about. */
export interface BranchCall {
  readonly transType: string;
  readonly gid: string;
  readonly branchId: string;
  readonly op: string;
}

/** dtm's names: the step that a compensating one undoes. */
const UNDONE: Readonly<Record<string, string>> = { cancel: "try", compensate: "action", rollback: "action" };
const MESSAGE = { branchId: "00", op: "msg", barrierId: "01" } as const;
/**
 * A step's barrier must outlive its message: a message stays prepared, and is asked about, for as long as coordinator or query
 * URL are away or nobody looks at a dead letter. (dtm's samples say a day: asked later, the step is taken for one that did not
 * happen, and what it took is lost.)
 */
const TTL_S = 90 * 86_400;
/** A refused step's guards against rival calls only; a crowd of them must not fill the stock's Redis for months. */
const REFUSAL_TTL_S = 86_400;

/**
 * Makes a local step happen once, however often it is called, and never after a query-back declared that it did not
 * happen. Keys and values are dtm's, so that its clients may share them. Each call takes the next barrier id: call in
 * the same order every time.
 */
export class Barrier implements BranchCall {
  readonly transType: string;
  readonly gid: string;
  readonly branchId: string;
  readonly op: string;
  #calls = 0;
  #isBarred = false;
  readonly #made: { readonly redis: ScriptRedis; readonly step: AdjustBarrier }[] = [];

  constructor(caller: BranchCall) {
    const { transType, gid, branchId, op } = caller;
    if (transType === "" || gid === "" || branchId === "" || op === "")
      throw new Error(`not a call of a coordinator: ${JSON.stringify(caller)}`);
    this.transType = transType;
    this.gid = gid;
    this.branchId = branchId;
    this.op = op;
  }

  /** The step of the caller of a message itself. */
  static ofMessage(gid: string): Barrier {
    return new Barrier({ transType: "msg", gid, branchId: MESSAGE.branchId, op: MESSAGE.op });
  }

  /**
   * From a request that the coordinator sent: its URL (absolute, or the path with its query), or the parsed query.
   * @throws if gid, trans_type, branch_id or op is missing
   */
  static fromRequest(request: string | URL | URLSearchParams | Readonly<Record<string, unknown>>): Barrier {
    const query =
      typeof request === "string" || request instanceof URL
        ? new URL(request, "http://localhost").searchParams
        : request instanceof URLSearchParams
          ? request
          : new URLSearchParams(Object.entries(request).filter((pair): pair is [string, string] => typeof pair[1] === "string"));
    const get = (name: string): string => query.get(name) ?? "";
    return new Barrier({ transType: get("trans_type"), gid: get("gid"), branchId: get("branch_id"), op: get("op") });
  }

  /** The step that this one compensates; undefined if it compensates none. */
  get undone(): string | undefined {
    return UNDONE[this.op];
  }

  /** The barrier says that the step never happens: a failure that no rival call of the same gid can contradict any more. */
  get isBarred(): boolean {
    return this.#isBarred;
  }

  /** Answered by the step that wrote it. */
  bar(): void {
    this.#isBarred = true;
  }

  /** It is the caller's own step of a message, which is made once, and not a call that the coordinator repeats. */
  get isOfMessage(): boolean {
    return this.branchId === MESSAGE.branchId && this.op === MESSAGE.op;
  }

  /**
   * `01`, `02`, ...: of the next step under this barrier.
   * @throws at the second step of a message's caller: a query-back asks about one, and would take the first for both
   */
  nextId(): string {
    this.#calls += 1;
    if (this.isOfMessage && this.#calls > 1)
      throw new Error(`message ${this.gid}: its local step must be one operation behind the barrier, not several`);
    return String(this.#calls).padStart(2, "0");
  }

  /**
   * Adds `amount` (below zero: takes) to the counter at `stockKey`, once. The barrier is looked at before the stock:
   * whoever took the last unit is answered `duplicate` when asking again, not `failure`.
   * @returns failure: the stock is missing or too low (nothing was taken), or the step was declared not to happen. In a
   *   message's own step that is final: the barrier bars a rival call that meets stock which has just come back, so that
   *   the message can be aborted. As a branch of somebody's message it is not: the coordinator calls again
   */
  async checkAdjustAmount(redis: ScriptRedis, stockKey: string, amount: number, ttlS = TTL_S): Promise<Step> {
    if (!Number.isSafeInteger(amount)) throw new RangeError(`not a whole amount: ${amount}`);
    const id = this.nextId();
    const { undone } = this;
    const step: AdjustBarrier = {
      stockKey,
      barrier: barrierKey(this.gid, this.branchId, this.op, id),
      compensates: undone === undefined ? undefined : barrierKey(this.gid, this.branchId, undone, id),
      amount,
      ttlS,
      refusalTtlS: this.isOfMessage ? Math.min(ttlS, REFUSAL_TTL_S) : 0,
    };
    const answer = await adjustBarrier(redis, step);
    if (this.isOfMessage && (answer === BarrierAnswer.failure || answer === BarrierAnswer.rollback)) this.bar();
    if (answer === BarrierAnswer.ok || answer === BarrierAnswer.duplicate) this.#made.push({ redis, step });
    if (answer === BarrierAnswer.ok || answer === BarrierAnswer.skipped) return Step.done;
    return answer === BarrierAnswer.duplicate ? Step.duplicate : Step.failure;
  }

  /**
   * Takes back what `checkAdjustAmount` did under this barrier, because the message has failed in the meantime: an
   * operator stopped it by force, or a client that does not bar the step (dtm's own) aborted it. @returns whether all of
   * it could be
   */
  async revert(): Promise<boolean> {
    for (const { redis, step } of this.#made) await revertBarrier(redis, step);
    return this.#made.length > 0;
  }

  /**
   * Answers a query-back about a step made by `checkAdjustAmount`: `done`, or `failure`, and then it never will happen.
   * The barrier's time to live must be longer than the message may stay prepared.
   */
  async queryPrepared(redis: ScriptRedis, ttlS = TTL_S): Promise<Step> {
    const barrier = barrierKey(this.gid, MESSAGE.branchId, MESSAGE.op, MESSAGE.barrierId);
    return (await queryBarrier(redis, { barrier, ttlS })) === BarrierAnswer.ok ? Step.done : Step.failure;
  }
}

/** The HTTP status by which a service tells the coordinator what a step, or a query-back, came to. */
export const statusOf = (step: Step): 200 | 409 => (step === Step.failure ? 409 : 200);
