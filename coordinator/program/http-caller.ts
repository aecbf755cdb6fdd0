import { Agent, errors } from "undici";
import type { Callable, UrlRefusal } from "./callable-hosts.ts";
import { AnswerTooLargeError, exchangeHttp, NoAnswerError, type BodyWish, type HttpAnswer } from "./http-answer.ts";
import { HostGate } from "./host-gate.ts";
import { lookupPublic, isPublicHost, NotPublicError } from "./public-address.ts";
import { systemClock } from "./system.ts";

export const RedirectPolicy = {
  /** an answer that redirects is the answer */
  none: "none",
  /** followed to the same origin if the method and its body stay the same, at most REDIRECTS_MOST times */
  sameOrigin: "same_origin",
} as const;
export type RedirectPolicy = (typeof RedirectPolicy)[keyof typeof RedirectPolicy];

export interface HttpPolicy {
  /** which URLs may be called: callableHosts(setting) */
  readonly callable: (url: string) => Callable;
  /** calls, and so sockets, at one host at a time */
  readonly hostCalls: number;
  /** calls that may wait for one host; more are refused. Default 1,000 */
  readonly hostWaiting?: number;
  /** false: addresses that are not public are not connected to, whatever name leads to them. Default true */
  readonly privateAddresses?: boolean;
  /** default none */
  readonly redirects?: RedirectPolicy;
  /** default: all of it, at most 1 MiB */
  readonly body?: (status: number) => BodyWish;
  /** undici checks these times about once a second. Default 10 s */
  readonly connectMs?: number;
  /** until the answer's head is there. Default: as long as the whole call may take */
  readonly headersMs?: number;
  /** between two pieces of the body. Default: as long as the whole call may take */
  readonly bodyMs?: number;
}

export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** sent with a POST */
  readonly body?: string;
  /** for all of the call, the wait for its turn at the host not counted */
  readonly timeoutMs: number;
}

/** Nothing was sent to the place that is refused. */
export type HttpRefusal = UrlRefusal | "private_address" | "host_busy";

export const HttpFailure = {
  timeout: "timeout",
  connectTimeout: "connect_timeout",
  headersTimeout: "headers_timeout",
  bodyTimeout: "body_timeout",
  tooLarge: "answer_too_large",
  /** no connection, or it broke, or what came is not HTTP */
  connection: "connection",
} as const;
export type HttpFailure = (typeof HttpFailure)[keyof typeof HttpFailure];

export type HttpResult =
  | ({ readonly kind: "answered" } & HttpAnswer)
  | { readonly kind: "refused"; readonly code: HttpRefusal; readonly why: string }
  /** it may have been done all the same */
  | { readonly kind: "failed"; readonly code: HttpFailure; readonly why: string };

const HOST_WAITING = 1_000;
const CONNECT_MS = 10_000;
const REDIRECTS_MOST = 3;
const WHOLE: BodyWish = { take: "whole", bytesMost: 1 << 20 };

const FAILURES: readonly (readonly [abstract new (...args: never[]) => Error, HttpFailure])[] = [
  [errors.ConnectTimeoutError, HttpFailure.connectTimeout],
  [errors.HeadersTimeoutError, HttpFailure.headersTimeout],
  [errors.BodyTimeoutError, HttpFailure.bodyTimeout],
  [AnswerTooLargeError, HttpFailure.tooLarge],
];

/** Where a redirect leads, if it may be followed: the same origin, and the same method with the same body. */
const redirected = (url: URL, method: string, status: number, location: unknown): URL | undefined => {
  if (typeof location !== "string" || !URL.canParse(location, url.href)) return undefined;
  const keepsMethod = status === 307 || status === 308 || (method === "GET" && [301, 302, 303].includes(status));
  const target = new URL(location, url.href);
  return keepsMethod && target.origin === url.origin && target.username === "" && target.password === "" ? target : undefined;
};

const failureOf = (error: Error, timeoutMs: number): HttpResult => {
  if (error instanceof NoAnswerError) return { kind: "failed", code: HttpFailure.timeout, why: `no answer within ${timeoutMs} ms` };
  if (error instanceof NotPublicError) return { kind: "refused", code: "private_address", why: error.message };
  const code = FAILURES.find(([fault]) => error instanceof fault)?.[1] ?? HttpFailure.connection;
  return { kind: "failed", code, why: error.message };
};

/**
 * The one way by which our programs call services that are not ours: hosts that are listed, a bound on the calls at each,
 * times, sizes, and no redirect to another origin. Over undici: node's fetch can neither bound the sockets a host nor
 * leave a body unread cheaply. Never rejects.
 */
export class HttpCaller {
  readonly #policy: HttpPolicy;
  readonly #agent: Agent;
  readonly #gate: HostGate;

  constructor(policy: HttpPolicy) {
    this.#policy = policy;
    this.#agent = new Agent({
      connections: policy.hostCalls,
      pipelining: 1,
      keepAliveTimeout: 10_000,
      maxHeaderSize: 16 * 1024,
      connect: { timeout: policy.connectMs ?? CONNECT_MS, ...(policy.privateAddresses === false ? { lookup: lookupPublic } : {}) },
    });
    this.#gate = new HostGate({
      most: policy.hostCalls,
      mostWaiting: policy.hostWaiting ?? HOST_WAITING,
      nowMs: () => systemClock.monotonicMs(),
    });
  }

  async call(wanted: HttpRequest): Promise<HttpResult> {
    const may = this.#policy.callable(wanted.url);
    if (!may.ok) return { kind: "refused", code: may.code, why: `the URL ${may.why}` };
    if (this.#policy.privateAddresses === false && !isPublicHost(may.url.hostname))
      return { kind: "refused", code: "private_address", why: `the address ${may.url.hostname} is not public` };
    const { host } = may.url;
    if (this.#gate.fullForMs(host) !== undefined) return { kind: "refused", code: "host_busy", why: `too many calls wait for ${host}` };
    return this.#gate.run(host, () => this.#send(may.url, wanted));
  }

  async #send(first: URL, wanted: HttpRequest): Promise<HttpResult> {
    const policy = this.#policy;
    const endsAtMs = systemClock.monotonicMs() + wanted.timeoutMs;
    const wishOf = policy.body ?? (() => WHOLE);
    try {
      let url = first;
      for (let redirects = 0; ; redirects += 1) {
        const answer = await exchangeHttp(
          this.#agent,
          {
            origin: url.origin,
            path: url.pathname + url.search,
            method: wanted.method,
            headers: wanted.headers ?? {},
            body: wanted.method === "POST" ? (wanted.body ?? "") : null,
            headersTimeout: policy.headersMs ?? 0,
            bodyTimeout: policy.bodyMs ?? 0,
          },
          { wishOf, withinMs: Math.max(0, endsAtMs - systemClock.monotonicMs()) },
        );
        const { status, headers } = answer;
        const follows = status >= 300 && status < 400 && policy.redirects === RedirectPolicy.sameOrigin && redirects < REDIRECTS_MOST;
        const next = follows ? redirected(url, wanted.method, status, headers["location"]) : undefined;
        if (next === undefined) return { kind: "answered", ...answer };
        url = next;
      }
    } catch (error) {
      return failureOf(error as Error, wanted.timeoutMs);
    }
  }

  /** Ends idle sockets; calls that run end with a failure. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}
