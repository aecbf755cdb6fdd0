import autocannon from "autocannon";

/** One HTTP request to be sent once. */
export interface CrowdRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
}

interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  /** Retry-After in ms; 0 if there is none */
  readonly retryAfterMs: number;
  /** from the first byte sent to the last byte received */
  readonly tookMs: number;
}

/** Where the requests come from and where their ends are reported. */
export interface RequestSource<T extends CrowdRequest> {
  /** the next request; undefined: none now, ask again in a moment */
  next(): T | undefined;
  /** no request will ever come again, unless one that is on its way fails */
  isEmpty(): boolean;
  answered(request: T, answer: HttpAnswer): void;
  /** no answer: the connection broke or nothing came in time; whether the server acted is unknown */
  failed(request: T): void;
}

export interface SendOptions {
  readonly url: string;
  readonly connections: number;
  readonly stop?: AbortSignal;
  /** how often an idle connection looks for a new request */
  readonly idleMs?: number;
}

/** The parts of autocannon's client (lib/httpClient.js of 9.0.0, pinned) that are replaced below. */
interface Client {
  destroyed: boolean;
  conn: import("node:net").Socket | undefined;
  readonly parser: { reinitialize(type: "RESPONSE"): void };
  readonly pipelinedRequests: { clear(): void };
  requestIterator: {
    currentRequest: { requestBuffer: string } | undefined;
    readonly resetted: boolean;
    nextRequest(): void;
    recordBody(request: unknown, status: number, body: string, headers: readonly string[]): void;
  };
  _connect(): void;
  _doRequest(): void;
}

const ANSWER_WITHIN_S = 10;
/** So often by default. */
const IDLE_MS = 10;
/** A refused connection is tried again after this, doubled up to the most. */
const RECONNECT_MS = 50;
const RECONNECT_MOST_MS = 500;
/** autocannon wants a duration; the end of the source is what ends it. */
const FOREVER_S = 1_000_000;

const retryAfterMs = (headers: readonly string[]): number => {
  for (let at = 0; at + 1 < headers.length; at += 2)
    if (headers[at]?.toLowerCase() === "retry-after") return Number(headers[at + 1]) * 1_000 || 0;
  return 0;
};

/** What the connections of one `sendAll` share. */
interface Sending<T extends CrowdRequest> {
  readonly source: RequestSource<T>;
  readonly host: string;
  /** connections that found no request when they looked last */
  readonly idle: Set<Connection<T>>;
  onTheWay: number;
}

/** One of autocannon's clients, made to send what the source hands out, one request at a time. */
class Connection<T extends CrowdRequest> {
  readonly #client: Client;
  /** autocannon's own methods, which the client's are put before */
  readonly #own: Client;
  readonly #sending: Sending<T>;
  #request: T | undefined;
  #sentAt = 0;
  #isConnected = false;
  #waitMs = 0;

  constructor(client: Client, sending: Sending<T>) {
    this.#client = client;
    this.#own = Object.getPrototypeOf(client) as Client;
    this.#sending = sending;
    client.requestIterator = {
      currentRequest: undefined,
      resetted: false,
      nextRequest: () => undefined,
      recordBody: (_request, status, body, headers) => this.#answered(status, body, headers),
    };
    client._doRequest = () => this.send();
    // called for the first connection, and whenever one broke or timed out
    client._connect = () => this.#connectAgain();
  }

  send(): void {
    const { source, host, idle } = this.#sending;
    if (!this.#isConnected || this.#client.destroyed || this.#request !== undefined) return;
    const request = source.next();
    if (request === undefined) {
      idle.add(this);
      return;
    }
    this.#request = request;
    this.#sending.onTheWay += 1;
    const length = request.method === "POST" ? "Content-Length: 0\r\n" : "";
    this.#client.requestIterator.currentRequest = {
      requestBuffer: `${request.method} ${request.path} HTTP/1.1\r\nHost: ${host}\r\n${length}\r\n`,
    };
    this.#sentAt = performance.now();
    this.#own._doRequest.call(this.#client);
  }

  #answered(status: number, body: string, headers: readonly string[]): void {
    const request = this.#taken();
    if (request === undefined) return;
    const tookMs = performance.now() - this.#sentAt;
    this.#sending.source.answered(request, { status, body, retryAfterMs: retryAfterMs(headers), tookMs });
  }

  #connectAgain(): void {
    const client = this.#client;
    this.#isConnected = false;
    this.#sending.idle.delete(this);
    client.conn
      ?.removeAllListeners()
      .on("error", () => undefined)
      .destroy();
    client.pipelinedRequests.clear();
    const lost = this.#taken();
    if (lost !== undefined) this.#sending.source.failed(lost);
    if (this.#waitMs === 0) this.#connect();
    else setTimeout(() => this.#connect(), this.#waitMs);
    this.#waitMs = Math.min(Math.max(this.#waitMs * 2, RECONNECT_MS), RECONNECT_MOST_MS);
    client.parser?.reinitialize("RESPONSE");
  }

  #connect(): void {
    if (this.#client.destroyed) return;
    this.#own._connect.call(this.#client);
    this.#client.conn?.once("connect", () => {
      this.#isConnected = true;
      this.#waitMs = 0;
      this.send();
    });
  }

  #taken(): T | undefined {
    const request = this.#request;
    if (request !== undefined) this.#sending.onTheWay -= 1;
    this.#request = undefined;
    return request;
  }
}

/**
 * Sends all requests of a source through autocannon, each once, one at a time on each connection.
 *
 * autocannon by itself loops over a list of requests that it clones for each connection (100,000 buyers times 100
 * connections), drops a request whose connection breaks, gives the next answer to the wrong request, and reconnects to
 * a server that is away in a tight loop. Its `setupClient` hook hands out the client before it connects: there the
 * source of requests, what happens at a broken connection, and idling are replaced. Parsing, sending and time-outs are
 * autocannon's.
 */
export const sendAll = async <T extends CrowdRequest>(source: RequestSource<T>, options: SendOptions): Promise<void> => {
  const sending: Sending<T> = { source, host: new URL(options.url).host, idle: new Set(), onTheWay: 0 };
  await new Promise<void>((resolve, reject) => {
    const running = autocannon(
      {
        url: options.url,
        connections: options.connections,
        duration: FOREVER_S,
        timeout: ANSWER_WITHIN_S,
        sampleInt: 50,
        setupClient: (client: unknown) => void new Connection(client as Client, sending),
      },
      (error: unknown) => (error instanceof Error ? reject(error) : resolve()),
    );
    const waker = setInterval(() => {
      if (options.stop?.aborted === true || (source.isEmpty() && sending.onTheWay === 0)) {
        clearInterval(waker);
        running.stop?.();
        return;
      }
      const waiting = [...sending.idle];
      sending.idle.clear();
      for (const connection of waiting) connection.send();
    }, options.idleMs ?? IDLE_MS);
  });
};
