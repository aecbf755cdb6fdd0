import { Agent, request, type Dispatcher } from "undici";
import { Verdict } from "./machine.ts";
import type { Answered, Call, Caller } from "./message-ports.ts";

/** Read of an answer's body; the verdict needs none of it. */
const BODY_BYTES_MOST = 64 * 1024;
const REASON_CHARS_MOST = 300;
const REDIRECTS_MOST = 3;

export interface HttpCallerOptions {
  /** sockets a host; as many as the gate lets run at it */
  readonly connections: number;
}

const verdictOf = (status: number): Verdict => {
  if (status >= 200 && status < 300) return Verdict.success;
  if (status === 425) return Verdict.ongoing;
  return status === 409 ? Verdict.failure : Verdict.error;
};

/** Where a redirect leads, if it may be followed: the same origin, and the same method with the same body. */
const redirected = (url: string, call: Call, status: number, location: string | string[] | undefined): string | undefined => {
  if (typeof location !== "string" || !URL.canParse(location, url)) return undefined;
  const keepsMethod = status === 307 || status === 308 || (call.method === "GET" && [301, 302, 303].includes(status));
  const target = new URL(location, url);
  return keepsMethod && target.origin === new URL(url).origin ? target.href : undefined;
};

const firstOf = async (body: Dispatcher.ResponseData["body"]): Promise<string> => {
  let text = "";
  for await (const chunk of body) {
    text += String(chunk);
    // leaving the loop destroys the rest with its socket
    if (text.length >= REASON_CHARS_MOST) break;
  }
  return text.slice(0, REASON_CHARS_MOST);
};

/** Calls over undici: node's fetch can neither bound the sockets a host nor leave a body unread cheaply. */
export class HttpCaller implements Caller {
  readonly #agent: Agent;

  constructor(options: HttpCallerOptions) {
    this.#agent = new Agent({ connections: options.connections, pipelining: 1, keepAliveTimeout: 10_000, maxHeaderSize: 16 * 1024 });
  }

  async call(call: Call): Promise<Answered> {
    // oxlint-disable-next-line no-restricted-properties -- the real time behind the Caller port
    const signal = AbortSignal.timeout(call.timeoutMs);
    try {
      let url = call.url;
      for (let redirects = 0; ; redirects += 1) {
        const answer = await request(url, {
          dispatcher: this.#agent,
          method: call.method,
          headers: call.headers,
          body: call.method === "POST" ? call.body : null,
          signal,
        });
        const status = answer.statusCode;
        const next = status >= 300 && status < 400 ? redirected(url, call, status, answer.headers["location"]) : undefined;
        if (next !== undefined && redirects < REDIRECTS_MOST) {
          await answer.body.dump({ limit: BODY_BYTES_MOST, signal });
          url = next;
          continue;
        }
        const verdict = verdictOf(status);
        if (verdict !== Verdict.success) return { verdict, reason: `${status} ${await firstOf(answer.body).catch(() => "")}`.trim() };
        // the status has decided: a body that breaks off or does not end changes nothing
        await answer.body.dump({ limit: BODY_BYTES_MOST, signal }).catch(() => undefined);
        return { verdict, reason: "" };
      }
    } catch (error) {
      const timedOut = signal.aborted;
      return { verdict: Verdict.error, reason: timedOut ? `no answer within ${call.timeoutMs} ms` : (error as Error).message };
    }
  }

  /** Ends idle sockets; calls that run end with an error. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }
}
