import { setTimeout as wait } from "node:timers/promises";
import { Agent, getGlobalDispatcher } from "undici";
import { exchangeHttp, type BodyWish } from "#program/http-answer";
import { ANSWER_BYTES_MOST, jsonOf, statusSaid } from "../dtm-result.ts";

/** The call may have been carried out, or not: repeat it, or leave the message to the query-back. */
export class OutcomeUnknown extends Error {
  override readonly name = "OutcomeUnknown";
}

/** The coordinator refused the call itself: a mistake in the call, not an outcome. */
export class CallRefused extends Error {
  override readonly name = "CallRefused";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface CoordinatorOptions {
  /** with or without dtm's prefix `/api/dtmsvr` */
  readonly url: string;
  /** bearer token, if the coordinator wants one */
  readonly token?: string;
  /** time-out of one try; default 3 s */
  readonly timeoutMs?: number;
  /** tries of a call that was not answered, or with a 5xx; default 3. All calls can be repeated */
  readonly tries?: number;
  /** before the second try; doubled with each further one; default 100 ms */
  readonly retryMs?: number;
  /** sockets to the coordinator; default 64 */
  readonly connections?: number;
  /** gather the calls of one turn of the event loop into one request; default true. dtm's own server has no such call: then it is not tried again */
  readonly bulk?: boolean;
}

export interface CoordinatorAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

type CallName = "prepare" | "submit" | "abort";

interface Queued {
  readonly call: CallName;
  /** JSON */
  readonly body: string;
  /** as one of a bulk request. The submit of a message that this caller has prepared: our coordinator needs its gid only */
  readonly inBulk: string;
  readonly isPrepared: boolean;
  readonly resolve: (answer: CoordinatorAnswer) => void;
  readonly reject: (error: unknown) => void;
}

const BULK_MOST = 256;
/** Half of what the coordinator takes. */
const BULK_CHARS_MOST = 512 << 10;
/** Calls that wait for their turn; a coordinator that hangs must not take the caller's memory. */
const QUEUE_MOST = 20_000;
/**
 * One request at a time, so that the next batch grows meanwhile: few large ones cost less than many small ones (a purchase
 * costs a fifth less CPU than with two at a time). Another goes beside it when that many wait, or when it is late: a
 * hung one does not stop the others.
 */
const ON_WIRE_MOST = 4;
const ANOTHER_FROM = 128;
const LATE_MS = 20;
const BODY: BodyWish = { take: "whole", bytesMost: 8 << 20 };
const QUERY_BODY: BodyWish = { take: "whole", bytesMost: ANSWER_BYTES_MOST };
const QUERY_TIMEOUT_MS = 3_000;
const PREFIX = "/api/dtmsvr";

/**
 * A coordinator at an address: ours, or dtm's own server. Every call is bounded in time, tries and sockets. Its batches
 * are not lua/core/batches.ts: they are bounded by bytes too, several may be on the wire, and a late one holds up nobody.
 */
export class Coordinator {
  /** base of every call, dtm's prefix included */
  readonly url: string;
  readonly #base: URL;
  readonly #options: Required<Omit<CoordinatorOptions, "token" | "url" | "bulk">>;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent: Agent;
  #bulk: boolean;
  #queue: Queued[] = [];
  #onWire = 0;
  #isScheduled = false;
  #late: NodeJS.Timeout | undefined;

  constructor(options: CoordinatorOptions) {
    const url = options.url.replace(/\/+$/, "");
    this.url = url.endsWith(PREFIX) ? url : url + PREFIX;
    this.#base = new URL(this.url);
    this.#options = {
      timeoutMs: options.timeoutMs ?? 3_000,
      tries: options.tries ?? 3,
      retryMs: options.retryMs ?? 100,
      connections: options.connections ?? 64,
    };
    this.#bulk = options.bulk ?? true;
    this.#headers = {
      "content-type": "application/json",
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
    };
    this.#agent = new Agent({ connections: this.#options.connections, pipelining: 1 });
  }

  /**
   * prepare, submit or abort: 200, 409 or 425 as the coordinator said. @throws OutcomeUnknown, CallRefused
   * @param how.isSlow it may be answered late (wait_result): it must not hold up the calls it would travel with
   * @param how.isPrepared a submit of what this caller has prepared
   */
  call(
    call: CallName,
    body: Readonly<Record<string, unknown>> & { readonly gid: string },
    how: { readonly isSlow?: boolean; readonly isPrepared?: boolean } = {},
  ): Promise<CoordinatorAnswer> {
    const { isSlow = false, isPrepared = false } = how;
    const json = JSON.stringify(body);
    if (!this.#bulk || isSlow) return this.#settled("POST", `/${call}`, json);
    const inBulk = isPrepared
      ? `{"call":"submitPrepared","body":${JSON.stringify({ gid: body.gid })}}`
      : `{"call":"${call}","body":${json}}`;
    return new Promise((resolve, reject) => {
      if (this.#queue.length >= QUEUE_MOST) {
        reject(new OutcomeUnknown(`/${call}: ${QUEUE_MOST} calls wait already`));
        return;
      }
      this.#queue.push({ call, body: json, inBulk, isPrepared, resolve, reject });
      this.#schedule();
    });
  }

  /** A new gid, unique in the world. */
  async newGid(): Promise<string> {
    const { body } = await this.#settled("GET", "/newGid");
    return String(body["gid"]);
  }

  /** The state of a message, undefined if there is none. */
  async state(gid: string): Promise<"prepared" | "submitted" | "succeed" | "failed" | undefined> {
    const { body } = await this.#settled("GET", `/query?${queryOf({ gid })}`);
    const transaction = body["transaction"] as { status?: "prepared" | "submitted" | "succeed" | "failed" } | null;
    return transaction?.status;
  }

  /** Asks a query URL what became of a local step: its status, or what the body of a yes says instead. @throws if it does not answer within 3 s */
  async ask(url: string): Promise<number> {
    const { origin, pathname, search } = new URL(url);
    const wanted = { wishOf: () => QUERY_BODY, withinMs: QUERY_TIMEOUT_MS };
    const answer = await exchangeHttp(getGlobalDispatcher(), { origin, path: pathname + search, method: "GET" }, wanted);
    return statusSaid(answer.status, jsonOf(answer.body));
  }

  async subscribe(topic: string, url: string, remark = ""): Promise<CoordinatorAnswer> {
    return this.#settled("GET", `/subscribe?${queryOf({ topic, url, remark })}`);
  }

  async unsubscribe(topic: string, url: string): Promise<CoordinatorAnswer> {
    return this.#settled("GET", `/unsubscribe?${queryOf({ topic, url })}`);
  }

  /** Ends the sockets. Calls on the wire fail. */
  close(): Promise<void> {
    return this.#agent.destroy();
  }

  /** At the end of this turn, or when the request on the wire is back: meanwhile the next batch grows. */
  #schedule(): void {
    if (this.#queue.length === 0 || this.#onWire >= ON_WIRE_MOST) return;
    if (this.#onWire === 0 || this.#queue.length >= ANOTHER_FROM) this.#flushSoon();
    else this.#late ??= setTimeout(() => this.#flushSoon(), LATE_MS);
  }

  #flushSoon(): void {
    clearTimeout(this.#late);
    this.#late = undefined;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    if (this.#onWire >= ON_WIRE_MOST) return;
    const batch = this.#queue.splice(0, bulkOf(this.#queue));
    const [only] = batch;
    if (only === undefined) return;
    this.#onWire += 1;
    this.#schedule();
    if (batch.length === 1) await this.#settled("POST", `/${only.call}`, only.body).then(only.resolve, only.reject);
    else await this.#together(batch);
    this.#onWire -= 1;
    this.#schedule();
  }

  async #together(batch: readonly Queued[]): Promise<void> {
    const single = (one: Queued): Promise<void> => this.#settled("POST", `/${one.call}`, one.body).then(one.resolve, one.reject);
    try {
      const { status, body } = await this.#try("POST", "/bulk", `[${batch.map(({ inBulk }) => inBulk).join(",")}]`);
      const answers = status === 200 ? (body["answers"] as readonly CoordinatorAnswer[]) : [];
      if (status === 404) this.#bulk = false;
      await Promise.all(
        batch.map(async (one, i) => {
          const answer = answers[i];
          // 404: what was prepared is not there any more; the long form holds all of it
          if (answer === undefined || answer.status >= 500 || (one.isPrepared && answer.status === 404)) return single(one);
          return judge(answer, one.resolve, one.reject);
        }),
      );
    } catch {
      await Promise.all(batch.map(single));
    }
  }

  async #settled(method: "GET" | "POST", path: string, body?: string): Promise<CoordinatorAnswer> {
    for (let tried = 1; ; tried += 1) {
      try {
        const answer = await this.#try(method, path, body);
        if (answer.status < 500) return await new Promise((resolve, reject) => judge(answer, resolve, reject));
        if (tried >= this.#options.tries) throw new OutcomeUnknown(`${path}: ${answer.status} ${messageOf(answer)}`);
      } catch (error) {
        if (error instanceof CallRefused || error instanceof OutcomeUnknown) throw error;
        if (tried >= this.#options.tries) throw new OutcomeUnknown(`${path}: ${(error as Error).message}`, { cause: error });
      }
      await wait(this.#options.retryMs * 2 ** (tried - 1) * (0.5 + Math.random() / 2));
    }
  }

  async #try(method: "GET" | "POST", path: string, body: string | null = null): Promise<CoordinatorAnswer> {
    const { origin, pathname } = this.#base;
    const answer = await exchangeHttp(
      this.#agent,
      { origin, path: pathname + path, method, headers: this.#headers, body },
      { wishOf: () => BODY, withinMs: this.#options.timeoutMs },
    );
    const said = parse(answer.body.toString());
    return { status: statusSaid(answer.status, said), body: said };
  }
}

/** How many calls the next request takes. */
const bulkOf = (queue: readonly Queued[]): number => {
  let [count, chars] = [0, 0];
  for (const { inBulk } of queue) {
    chars += inBulk.length;
    if (count === BULK_MOST || (count > 0 && chars > BULK_CHARS_MOST)) break;
    count += 1;
  }
  return count;
};

const queryOf = (parameters: Readonly<Record<string, string>>): string => new URLSearchParams(parameters).toString();

/** What the coordinator said for people. */
export const messageOf = (answer: CoordinatorAnswer): string => (typeof answer.body["message"] === "string" ? answer.body["message"] : "");

const parse = (text: string): Readonly<Record<string, unknown>> => {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return { message: text.slice(0, 300) };
  }
};

/** 200, 409 and 425 are outcomes; other 4xx are mistakes. dtm's server answers a mistake with 500. */
const judge = (answer: CoordinatorAnswer, resolve: (answer: CoordinatorAnswer) => void, reject: (error: unknown) => void): void => {
  if (answer.status === 200 || answer.status === 409 || answer.status === 425) resolve(answer);
  else reject(new CallRefused(answer.status, `${answer.status} ${messageOf(answer)}`));
};

let chosen: Coordinator | undefined;

/** Sets the coordinator of every message that names none. */
export const useCoordinator = (coordinator: Coordinator | CoordinatorOptions): Coordinator => {
  chosen = coordinator instanceof Coordinator ? coordinator : new Coordinator(coordinator);
  return chosen;
};

export const chosenCoordinator = (): Coordinator => {
  if (chosen === undefined) throw new Error("no coordinator: call useCoordinator({ url }) first, or give one to the message");
  return chosen;
};
