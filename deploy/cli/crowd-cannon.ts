import autocannon from "autocannon";

/** One HTTP request to be sent once. */
export interface Shot {
  readonly method: "GET" | "POST";
  readonly path: string;
}

export interface Reply {
  readonly status: number;
  readonly body: string;
  /** Retry-After in ms; 0 if there is none */
  readonly retryAfterMs: number;
  /** from the first byte sent to the last byte received */
  readonly tookMs: number;
}

/** Where the shots come from and where their ends are told. */
export interface Magazine<T extends Shot> {
  /** the next shot; undefined: none now, ask again in a moment */
  next(): T | undefined;
  /** no shot will ever come again, unless one that is on its way fails */
  isEmpty(): boolean;
  answered(shot: T, reply: Reply): void;
  /** no answer: the connection broke or nothing came in time; whether the server acted is unknown */
  failed(shot: T): void;
}

export interface CannonOptions {
  readonly url: string;
  readonly connections: number;
  readonly stop?: AbortSignal;
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
/** An idle connection looks for a new shot this often. */
const IDLE_MS = 10;
/** A refused connection is tried again after this, doubled up to the most. */
const RECONNECT_MS = 50;
const RECONNECT_MOST_MS = 500;
/** autocannon wants a duration; the magazine's end is what ends it. */
const FOREVER_S = 1_000_000;

const retryAfterMs = (headers: readonly string[]): number => {
  for (let at = 0; at + 1 < headers.length; at += 2)
    if (headers[at]?.toLowerCase() === "retry-after") return Number(headers[at + 1]) * 1_000 || 0;
  return 0;
};

/**
 * Empties a magazine through autocannon, each shot once, one at a time on each connection.
 *
 * autocannon by itself loops over a list of requests that it clones for each connection (100,000 buyers times 100
 * connections), drops a request whose connection breaks, gives the next answer to the wrong request, and reconnects to
 * a server that is away in a tight loop. Its `setupClient` hook hands out the client before it connects: there the
 * source of requests, what happens at a broken connection, and idling are replaced. Parsing, sending and time-outs are
 * autocannon's.
 */
export const fire = async <T extends Shot>(magazine: Magazine<T>, options: CannonOptions): Promise<void> => {
  const { host } = new URL(options.url);
  const idle = new Set<Client>();
  let onTheWay = 0;

  const setupClient = (given: unknown): void => {
    const client = given as Client;
    const prototype = Object.getPrototypeOf(client) as Client;
    let shot: T | undefined;
    let sentAt = 0;
    let isConnected = false;
    let waitMs = 0;

    const taken = (): T | undefined => {
      const was = shot;
      if (was !== undefined) onTheWay -= 1;
      shot = undefined;
      return was;
    };
    client.requestIterator = {
      currentRequest: undefined,
      resetted: false,
      nextRequest: () => undefined,
      recordBody: (_request, status, body, headers) => {
        const answered = taken();
        if (answered !== undefined)
          magazine.answered(answered, { status, body, retryAfterMs: retryAfterMs(headers), tookMs: performance.now() - sentAt });
      },
    };
    client._doRequest = () => {
      if (!isConnected || client.destroyed || shot !== undefined) return;
      shot = magazine.next();
      if (shot === undefined) {
        idle.add(client);
        return;
      }
      onTheWay += 1;
      const length = shot.method === "POST" ? "Content-Length: 0\r\n" : "";
      client.requestIterator.currentRequest = {
        requestBuffer: `${shot.method} ${shot.path} HTTP/1.1\r\nHost: ${host}\r\n${length}\r\n`,
      };
      sentAt = performance.now();
      prototype._doRequest.call(client);
    };
    // called for the first connection, and whenever one broke or timed out
    client._connect = () => {
      isConnected = false;
      idle.delete(client);
      client.conn
        ?.removeAllListeners()
        .on("error", () => undefined)
        .destroy();
      client.pipelinedRequests.clear();
      const lost = taken();
      if (lost !== undefined) magazine.failed(lost);
      const connect = (): void => {
        if (client.destroyed) return;
        prototype._connect.call(client);
        client.conn?.once("connect", () => {
          isConnected = true;
          waitMs = 0;
          client._doRequest();
        });
      };
      if (waitMs === 0) connect();
      else setTimeout(connect, waitMs);
      waitMs = Math.min(Math.max(waitMs * 2, RECONNECT_MS), RECONNECT_MOST_MS);
      client.parser?.reinitialize("RESPONSE");
    };
  };

  await new Promise<void>((resolve, reject) => {
    const cannon = autocannon(
      {
        url: options.url,
        connections: options.connections,
        duration: FOREVER_S,
        timeout: ANSWER_WITHIN_S,
        sampleInt: 50,
        setupClient,
      },
      (error: unknown) => (error instanceof Error ? reject(error) : resolve()),
    );
    const waker = setInterval(() => {
      if (options.stop?.aborted === true || (magazine.isEmpty() && onTheWay === 0)) {
        clearInterval(waker);
        cannon.stop?.();
        return;
      }
      const waiting = [...idle];
      idle.clear();
      for (const client of waiting) client._doRequest();
    }, IDLE_MS);
  });
};
