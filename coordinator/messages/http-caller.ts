import { callableHosts, type Callable } from "#program/callable-hosts";
import { beginningOf } from "#protocol/text";
import type { BodyWish } from "#program/http-answer";
import { HttpCaller as OutgoingCaller, RedirectPolicy } from "#program/http-caller";
import { ANSWER_BYTES_MOST, jsonOf, statusSaid } from "./dtm-result.ts";
import { Verdict } from "./machine.ts";
import type { Answered, Call, Caller } from "./message-ports.ts";

const REASON_CHARS_MOST = 300;
/** A character has at most four bytes. */
const REASON: BodyWish = { take: "beginning", bytesMost: 4 * REASON_CHARS_MOST };
/** A yes is one only when all of it has come: its body may say no. */
const YES: BodyWish = { take: "whole", bytesMost: ANSWER_BYTES_MOST };
/** The runner's gate lets no more calls through than run here, so only alerts ever wait; as many as messages are worked on at a time. */
const HOST_WAITING = 20_000;

export interface HttpCallerOptions {
  /** sockets a host; as many as the runner's gate lets run at it */
  readonly connections: number;
  /** hosts besides loopback */
  readonly hosts: readonly string[];
  /** told about dead letters; may be called though messages may not; empty: nobody is told */
  readonly alertUrl: string;
}

const isSuccess = (status: number): boolean => status >= 200 && status < 300;

const verdictOf = (status: number): Verdict => {
  if (isSuccess(status)) return Verdict.success;
  if (status === 425) return Verdict.ongoing;
  return status === 409 ? Verdict.failure : Verdict.error;
};

/** What may be called: what a message may name (checked when it was taken too), and the operator's alert URL. */
const callableOr = (hosts: readonly string[], alertUrl: string): ((url: string) => Callable) => {
  const callable = callableHosts(hosts);
  return (url) => (url === alertUrl && URL.canParse(url) ? { ok: true, url: new URL(url) } : callable(url));
};

/** The calls of two-phase messages: dtm's verdicts over the outgoing caller. */
export class HttpCaller implements Caller {
  readonly #caller: OutgoingCaller;

  constructor({ connections, hosts, alertUrl }: HttpCallerOptions) {
    this.#caller = new OutgoingCaller({
      callable: callableOr(hosts, alertUrl),
      hostCalls: connections,
      hostWaiting: HOST_WAITING,
      redirects: RedirectPolicy.sameOrigin,
      body: (status) => (isSuccess(status) ? YES : REASON),
    });
  }

  async call(call: Call): Promise<Answered> {
    const result = await this.#caller.call(call);
    if (result.kind !== "answered") return { verdict: Verdict.error, reason: beginningOf(result.why, REASON_CHARS_MOST) };
    const verdict = verdictOf(statusSaid(result.status, jsonOf(result.body)));
    if (verdict === Verdict.success) return { verdict, reason: "" };
    return { verdict, reason: `${result.status} ${beginningOf(result.body.toString(), REASON_CHARS_MOST)}`.trim() };
  }

  close(): Promise<void> {
    return this.#caller.close();
  }
}
