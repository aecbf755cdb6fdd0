import type { HttpRequest } from "uWebSockets.js";
import { readOrigin } from "#program/origins";
import { anybodysLines, linesFor, nobodysLines, type CorsLines } from "./cors.ts";
import type { RequestHead } from "./request-head.ts";

/** Who reads the answer to a request, and may he ask for something to be done? */
export interface Reader {
  /** a page of another origin that is not on the list: it may not buy */
  readonly isForeign: boolean;
  /** undefined: no browser keeps the answer from him */
  readonly cors: CorsLines | undefined;
}

/** An app, a server, `curl`, or a page of the gateway's own origin. */
const DIRECT: Reader = { isForeign: false, cors: undefined };
const FOREIGN: Reader = { isForeign: true, cors: nobodysLines };
/** Of an answer that is the same for everybody. */
export const ANYBODY: Reader = { isForeign: false, cors: anybodysLines };

/** Whether the origin's host and port are those that the request was sent to; a Host may name the default port. */
const isAt = (origin: string, host: string): boolean => {
  const [scheme, port] = origin.startsWith("https://") ? ["https://", ":443"] : ["http://", ":80"];
  if (!origin.startsWith(scheme)) return false;
  const authority = origin.slice(scheme.length);
  return authority !== "" && (host === authority || host === authority + port);
};

export interface OriginOptions {
  /** `scheme://host[:port]` each (#program/origins) */
  readonly allowed: readonly string[];
  /** a proxy in front is trusted, so X-Forwarded-Host is the name that the page used */
  readonly isBehindProxy: boolean;
}

/**
 * The one judgement of a request's origin, for HTTP and for the upgrade to WebSocket.
 *
 * A page can make its visitor's browser send requests, but sets none of the headers that are read here: Origin, Host and
 * all of `Sec-` are forbidden to scripts (Fetch standard), and X-Forwarded-Host would need a preflight that is refused.
 * The order is that of Go's `http.CrossOriginProtection`: the list; what the browser says itself (Sec-Fetch-Site, sent to
 * https and to loopback); where it says nothing, whether the origin's host is the one that was asked.
 */
export class Origins {
  readonly #readers: ReadonlyMap<string, Reader>;
  readonly #isBehindProxy: boolean;

  /** @throws TypeError for an entry that is no origin */
  constructor({ allowed, isBehindProxy }: OriginOptions) {
    this.#readers = new Map(
      allowed.map((text) => {
        const read = readOrigin(text);
        if ("why" in read) throw new TypeError(`allowed origin ${JSON.stringify(text)} ${read.why}`);
        return [read.origin, { isForeign: false, cors: linesFor(read.origin) }];
      }),
    );
    this.#isBehindProxy = isBehindProxy;
  }

  readerOf({ origin, fetchSite, host }: RequestHead, req: HttpRequest): Reader {
    if (origin === "" && fetchSite === "") return DIRECT;
    const listed = this.#readers.get(origin);
    if (listed !== undefined) return listed;
    if (fetchSite !== "") return fetchSite === "same-origin" || fetchSite === "none" ? DIRECT : FOREIGN;
    return isAt(origin, host) || this.#isForwarded(origin, req) ? DIRECT : FOREIGN;
  }

  #isForwarded(origin: string, req: HttpRequest): boolean {
    if (!this.#isBehindProxy) return false;
    const names = req.getHeader("x-forwarded-host").split(",");
    return names.some((name) => isAt(origin, name.trim()));
  }
}
