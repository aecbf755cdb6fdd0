import { Barrier, Step } from "./barrier.ts";
import { CallRefused, chosenCoordinator, messageOf, OutcomeUnknown, type CoordinatorAnswer, type Coordinator } from "./coordinator.ts";

/** How a two-phase message ended for the one who sent it. */
export type Sent =
  /** it will be delivered; `duplicate`: a repeat, it was sent before */
  | { readonly status: "submitted"; readonly duplicate: boolean }
  /** the local step did not happen and never will; nothing is delivered */
  | {
      readonly status: "failed";
      readonly reason: string;
      /** the message failed after the local step had happened, and what it did could not be taken back by the barrier: compensate it */
      readonly compensate?: true;
    };

export interface MessageOptions {
  /** how long the coordinator waits before it asks the query URL; may be below one second */
  readonly timeoutToFailS?: number;
  readonly requestTimeoutS?: number;
  readonly retryIntervalS?: number;
  readonly branchHeaders?: Readonly<Record<string, string>>;
  /** branches at once instead of in order */
  readonly concurrent?: boolean;
  /** submit answers after the first round of deliveries */
  readonly waitResult?: boolean;
}

const DUPLICATE: Sent = { status: "submitted", duplicate: true };

/** What a message needs of its coordinator. */
export type MessageCalls = Pick<Coordinator, "call" | "state" | "ask">;

/**
 * A two-phase message: prepared, then the caller's local step, then submitted, which delivers its branches, or aborted.
 * A caller that dies in between is asked back at its query URL. The gid is its identity: sent twice, it is the same.
 */
export class Message {
  readonly gid: string;
  readonly #coordinator: MessageCalls;
  readonly #steps: { readonly action: string }[] = [];
  readonly #payloads: string[] = [];
  #options: MessageOptions = {};
  #delayS = 0;
  /** the coordinator has said so, of what this object holds now */
  #isPrepared = false;

  constructor(gid: string, coordinator: MessageCalls = chosenCoordinator()) {
    this.gid = gid;
    this.#coordinator = coordinator;
  }

  /** One more branch: POST of `payload` as JSON to `url`. */
  add(url: string, payload: unknown): this {
    this.#isPrepared = false;
    this.#steps.push({ action: url });
    this.#payloads.push(JSON.stringify(payload ?? null));
    return this;
  }

  /** One more branch for each subscriber that the topic has when the message is prepared. */
  addTopic(topic: string, payload: unknown): this {
    return this.add(`topic://${topic}`, payload);
  }

  /** Seconds from submit to delivery. */
  delay(seconds: number): this {
    this.#isPrepared = false;
    this.#delayS = seconds;
    return this;
  }

  set(options: MessageOptions): this {
    this.#isPrepared = false;
    this.#options = { ...this.#options, ...options };
    return this;
  }

  /** @throws OutcomeUnknown, CallRefused */
  async prepare(queryUrl: string): Promise<CoordinatorAnswer> {
    const answer = await this.#coordinator.call("prepare", this.#body(queryUrl));
    this.#isPrepared = answer.status === 200;
    return answer;
  }

  /** Prepared before or not. @throws OutcomeUnknown, CallRefused */
  submit(): Promise<CoordinatorAnswer> {
    return this.#coordinator.call("submit", this.#body(""), {
      isSlow: this.#options.waitResult === true,
      isPrepared: this.#isPrepared,
    });
  }

  /** @throws OutcomeUnknown, CallRefused */
  abort(reason = ""): Promise<CoordinatorAnswer> {
    return this.#coordinator.call("abort", { gid: this.gid, trans_type: "msg", rollback_reason: reason });
  }

  /**
   * Prepares, makes the local step, submits or aborts. The step runs behind the barrier that it is given, and says
   * what came of it. If it throws, or fails without having asked the barrier, the query URL is asked what happened.
   * @throws OutcomeUnknown: the message stays prepared, the coordinator will ask; call again, or ask the query URL.
   *   CallRefused: nothing happened
   */
  async doAndSubmit(queryUrl: string, step: (barrier: Barrier) => Promise<Step>): Promise<Sent> {
    const prepared = await this.prepare(queryUrl);
    if (prepared.status !== 200) return this.#ended(prepared);
    const barrier = Barrier.ofMessage(this.gid);
    const result = await this.#make(queryUrl, barrier, step);
    if (result === Step.failure) {
      await this.abort("the local step failed").catch(left);
      return { status: "failed", reason: "the local step failed" };
    }
    const submitted = await this.submit();
    if (submitted.status !== 409) return { status: "submitted", duplicate: result === Step.duplicate };
    const ended = await this.#ended(submitted);
    if (ended.status !== "failed" || (await barrier.revert())) return ended;
    return { ...ended, compensate: true };
  }

  /**
   * Makes the local step. A failure is answered only when it is final: until then a rival call with the same gid could still
   * make the step, and an abort would leave what it did to nobody.
   */
  async #make(queryUrl: string, barrier: Barrier, step: (barrier: Barrier) => Promise<Step>): Promise<Step> {
    let thrown: unknown;
    try {
      const result = await step(barrier);
      if (result !== Step.failure || barrier.isBarred) return result;
    } catch (error) {
      thrown = error;
    }
    return this.#ask(queryUrl, thrown);
  }

  /** The message is past being prepared: what it came to is the answer, as it was the first time. */
  async #ended(refused: CoordinatorAnswer): Promise<Sent> {
    const state = (refused.body["status"] as string | undefined) ?? (await this.#coordinator.state(this.gid));
    if (state === "submitted" || state === "succeed") return DUPLICATE;
    if (state === "failed") return { status: "failed", reason: "the message has failed" };
    throw new OutcomeUnknown(`message ${this.gid}: ${refused.status} ${messageOf(refused)}`);
  }

  async #ask(queryUrl: string, cause: unknown): Promise<Step> {
    const url = new URL(queryUrl);
    for (const [name, value] of Object.entries({ gid: this.gid, trans_type: "msg", branch_id: "00", op: "msg" }))
      url.searchParams.set(name, value);
    try {
      const status = await this.#coordinator.ask(url.href);
      if (status >= 200 && status < 300) return Step.done;
      if (status === 409) return Step.failure;
    } catch {
      // no answer either: it stays unknown
    }
    throw new OutcomeUnknown(`message ${this.gid}: its query URL does not say whether the local step happened`, { cause });
  }

  #body(queryUrl: string): Record<string, unknown> & { readonly gid: string } {
    const { timeoutToFailS, requestTimeoutS, retryIntervalS, branchHeaders, concurrent, waitResult } = this.#options;
    return {
      gid: this.gid,
      trans_type: "msg",
      steps: this.#steps,
      payloads: this.#payloads,
      protocol: "",
      ...(queryUrl === "" ? {} : { query_prepared: queryUrl }),
      ...(this.#delayS > 0 ? { custom_data: JSON.stringify({ delay: this.#delayS }) } : {}),
      ...(timeoutToFailS === undefined ? {} : { timeout_to_fail: timeoutToFailS }),
      ...(requestTimeoutS === undefined ? {} : { request_timeout: requestTimeoutS }),
      ...(retryIntervalS === undefined ? {} : { retry_interval: retryIntervalS }),
      ...(branchHeaders === undefined ? {} : { branch_headers: branchHeaders }),
      ...(concurrent === undefined ? {} : { concurrent }),
      ...(waitResult === undefined ? {} : { wait_result: waitResult }),
    };
  }
}

/** An abort that was not heard is made by the query-back: the step did not happen, and its barrier says so. */
const left = (error: unknown): undefined => {
  if (error instanceof OutcomeUnknown || error instanceof CallRefused) return undefined;
  throw error;
};
