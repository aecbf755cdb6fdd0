import type { HttpResponse, RecognizedString } from "uWebSockets.js";
import { checkedHeader, type Answer } from "./answer.ts";
import type { ClientAddresses } from "./client-address.ts";
import type { RequestHead } from "./request-head.ts";

/** What the exchanges of one mount share. */
export interface Edge {
  readonly clients: ClientAddresses;
  /** how long a body may take to arrive whole */
  readonly bodyDeadlineMs: number;
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

/**
 * One request and its answer. Owns the response: nothing is sent twice, nothing after the client went away, and what is
 * sent outside the handler is corked.
 */
export class Exchange {
  readonly head: Readonly<RequestHead>;
  /** the pattern's parameter, percent-decoded, or empty */
  readonly parameter: string;
  /** the query parameter that the route asks for, or empty */
  readonly query: string;
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

  constructor(edge: Edge, res: HttpResponse, head: RequestHead, parameter: string, isHead: boolean, query = "") {
    this.#edge = edge;
    this.#res = res;
    this.head = { ...head };
    this.parameter = parameter;
    this.query = query;
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

  answer(answer: Answer): void {
    this.send(answer.head, answer.body);
  }

  /**
   * @param head status line and headers (answer.ts)
   * @param body undefined for a status without one
   * @param name of one more header
   */
  send(head: RecognizedString, body: string | ArrayBuffer | undefined, name = "", value = ""): void {
    if (this.#over) return;
    if (name !== "") checkedHeader(name, value);
    if (this.#isLast) this.#sendLater(() => this.#sendNow(head, body, name, value));
    else this.#sendNow(head, body, name, value);
  }

  #sendLater(send: () => void): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      if (!this.#over) send();
    });
  }

  #sendNow(head: RecognizedString, body: string | ArrayBuffer | undefined, name: string, value: string): void {
    this.#end();
    if (this.#inHandler) this.#write(head, body, name, value);
    else this.#res.cork(() => this.#write(head, body, name, value));
  }

  #write(head: RecognizedString, body: string | ArrayBuffer | undefined, name: string, value: string): void {
    const res = this.#res;
    const closes = this.#closes || this.#edge.draining;
    res.writeStatus(head);
    if (name !== "") res.writeHeader(name, value);
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
