import type { HttpResponse } from "uWebSockets.js";
import type { ClientAddresses } from "./client-address.ts";
import type { Origins, Reader } from "./origins.ts";
import type { RequestHead } from "./request-head.ts";

/** What the exchanges of one mount share. */
export interface Edge {
  readonly clients: ClientAddresses;
  /** who may read answers, and buy, from a page */
  readonly origins: Origins;
  /** how long a body may take to arrive whole */
  readonly bodyDeadlineMs: number;
  /** whoever traces reads the header by which a buyer names his own trace (W3C Trace Context) */
  readonly readsTraceparent: boolean;
  /** called with what was thrown inside a handler */
  readonly onFault: (error: unknown) => void;
  /** exchanges that are not answered in the tick they came in */
  waiting: number;
  /** `/readyz` says so; everything else is served as ever */
  stopping: boolean;
  /** every answer closes its connection */
  draining: boolean;
  /** called when `waiting` came down to 0 */
  onIdle: () => void;
}

/** What an exchange is about. */
interface Received {
  /** is copied: the one that is read into is the next request's, too */
  readonly head: RequestHead;
  readonly reader: Reader;
  /** the pattern's parameter, percent-decoded, or empty */
  readonly parameter?: string;
  readonly isHead: boolean;
  /** as it stands in the URL behind the `?`, or empty */
  readonly query?: string;
  readonly traceparent?: string;
}

/** Prepared bytes, or texts made for one request. */
export interface Sendable {
  /** status line and headers (answer.ts) */
  readonly head: string | ArrayBuffer;
  /** undefined: the status has none */
  readonly body: string | ArrayBuffer | undefined;
}

/**
 * One request and its answer. Owns the response: nothing is sent twice, nothing after the client went away, and what is
 * sent outside the handler is corked.
 */
export class Exchange {
  readonly head: Readonly<RequestHead>;
  readonly reader: Reader;
  readonly parameter: string;
  /** as it was sent; empty without one, and where nobody traces */
  readonly traceparent: string;
  readonly #query: string;
  readonly #edge: Edge;
  readonly #res: HttpResponse;
  readonly #isHead: boolean;
  #inHandler = true;
  #waits = false;
  #over = false;
  #closes = false;
  #isLast = false;
  #isDue = false;
  #onEnd: (() => void) | undefined;

  constructor(edge: Edge, res: HttpResponse, { head, reader, parameter = "", isHead, query = "", traceparent = "" }: Received) {
    this.#edge = edge;
    this.#res = res;
    this.head = { ...head };
    this.reader = reader;
    this.parameter = parameter;
    this.traceparent = traceparent;
    this.#query = query;
    this.#isHead = isHead;
    if (head.transferEncodings > 0) this.endConnection();
  }

  /** True once it is answered or the client went away. */
  get over(): boolean {
    return this.#over;
  }

  /** Key of the client's address bucket; read only when asked for, it is the dearest call of a refusal (2 us). */
  get address(): string {
    return this.#over ? "" : this.#edge.clients.keyOf(this.#res, this.head);
  }

  /** The connection began with a PROXY header of somebody who is not trusted. */
  get isProxyForged(): boolean {
    return !this.#over && this.#edge.clients.isProxyForged(this.#res);
  }

  /** @returns the query parameter, decoded, empty without one; several of one name are joined by a comma, as headers are */
  queried(name: string): string {
    return this.#query === "" ? "" : new URLSearchParams(this.#query).getAll(name).join(",");
  }

  /** `cleanUp` runs once, when the exchange is over for whatever reason. */
  whenOver(cleanUp: () => void): void {
    this.#onEnd = cleanUp;
  }

  /** The answer closes the connection. */
  closeAfter(): void {
    this.#closes = true;
  }

  /**
   * Nothing that follows this request on its connection is run, because where the request ends is in doubt: by its headers, or
   * because its body is in chunks, which uWebSockets.js decodes so loosely (a chunk of size `1;a` has 442 bytes for it) that
   * a proxy may have meant another end. It would parse what follows even after `end(body, true)`, but drops the connection
   * if more comes while an answer is due: so each answer waits a turn of the event loop. A second request in the same packet
   * is never run; without one the client reads the answer.
   */
  endConnection(): void {
    this.#closes = true;
    this.#isLast = true;
  }

  /** Answers with this and with what a page has to be told (cors.ts). */
  answer(answer: Sendable): void {
    if (this.#over) return;
    if (this.#isLast) this.#sendLater(answer);
    else this.#send(answer);
  }

  #sendLater(answer: Sendable): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      if (!this.#over) this.#send(answer);
    });
  }

  #send(answer: Sendable): void {
    this.#end();
    if (this.#inHandler) this.#write(answer);
    else this.#res.cork(() => this.#write(answer));
  }

  #write({ head, body }: Sendable): void {
    const res = this.#res;
    const closes = this.#closes || this.#edge.draining;
    const { cors } = this.reader;
    res.writeStatus(cors === undefined ? head : cors.on(head));
    if (body !== undefined && !this.#isHead) {
      // One argument less is measurable here.
      if (closes) res.end(body, true);
      else res.end(body);
      return;
    }
    // uWebSockets.js sends a body also for HEAD, and any length but 0 told to endWithoutBody (undefined too) ends the
    // process. A HEAD that closes its connection says 0: it cannot say both.
    if (closes) {
      res.endWithoutBody(0, true);
      return;
    }
    if (body !== undefined) res.writeHeader("Content-Length", String(Buffer.byteLength(body)));
    res.endWithoutBody();
  }

  #end(): void {
    this.#over = true;
    const cleanUp = this.#onEnd;
    if (cleanUp !== undefined) {
      this.#onEnd = undefined;
      cleanUp();
    }
    if (!this.#waits) return;
    this.#waits = false;
    this.#edge.waiting -= 1;
    if (this.#edge.waiting === 0) this.#edge.onIdle();
  }

  /** For the wrapper alone: the handler has returned; without an abort handler an unanswered response ends the process. */
  leaveHandler(): void {
    if (!this.#over) {
      this.#waits = true;
      this.#edge.waiting += 1;
      this.#res.onAborted(() => {
        if (!this.#over) this.#end();
      });
    }
    this.#inHandler = false;
  }

  /** For the wrapper alone: receives the body, `last` true with the final piece. A piece is valid during the call only. */
  readBody(take: (piece: ArrayBuffer, last: boolean) => void): void {
    this.#res.onData(take);
  }
}
