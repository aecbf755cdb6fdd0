import { connect, type Socket } from "node:net";

export interface WireAnswer {
  readonly status: number;
  readonly reason: string;
  /** names in lower case; several of one name are joined by a comma */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const BOUND_MS = 20_000;
/** RFC 9110: these never have a body */
const BODILESS: ReadonlySet<number> = new Set([101, 204, 304]);

/** A connection on which any bytes can be sent, and answers read as a strict client reads them. */
export class Wire {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #closed = false;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** @param from the loopback address that it comes from */
  static open(port: number, from = "127.0.0.1"): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1", localAddress: from });
      socket.once("error", reject);
      socket.once("connect", () => resolve(new Wire(socket)));
    });
  }

  /** latin1, so that every byte can be spelled */
  write(text: string): this {
    this.#socket.write(text, "latin1");
    return this;
  }

  async #until(condition: () => boolean, what: string): Promise<void> {
    const bound = setTimeout(() => this.#wake(), BOUND_MS);
    const startedAt = performance.now();
    while (!condition()) {
      if (performance.now() - startedAt >= BOUND_MS)
        throw new Error(`${what} did not happen; received ${JSON.stringify(this.#received.toString("latin1"))}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    clearTimeout(bound);
  }

  /** @returns the next whole answer, or undefined if the connection closed before one came */
  async answer(isHead = false): Promise<WireAnswer | undefined> {
    let answer: WireAnswer | undefined;
    await this.#until(() => {
      answer = this.#take(isHead);
      return answer !== undefined || this.#closed;
    }, "an answer");
    return answer;
  }

  #take(isHead: boolean): WireAnswer | undefined {
    const text = this.#received.toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return undefined;
    const [first = "", ...lines] = text.slice(0, end).split("\r\n");
    if (!/^HTTP\/1\.1 \d{3} /.test(first)) throw new Error(`not the begin of an answer: ${JSON.stringify(text.slice(0, 200))}`);
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const colon = line.indexOf(":");
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
    }
    const status = Number(first.split(" ")[1]);
    const length = isHead || BODILESS.has(status) ? 0 : Number(headers["content-length"] ?? this.#rest(end, text));
    if (text.length < end + 4 + length) return undefined;
    const body = this.#received.subarray(end + 4, end + 4 + length).toString("utf8");
    this.#received = this.#received.subarray(end + 4 + length);
    return { status, reason: first.split(" ").slice(2).join(" "), headers, body };
  }

  /** uWebSockets.js's own refusals have no length: they last until the connection ends */
  #rest(end: number, text: string): number {
    return this.#closed ? text.length - end - 4 : Number.POSITIVE_INFINITY;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** resolves when the other side has closed */
  async closed(): Promise<void> {
    await this.#until(() => this.#closed, "a close");
  }

  /** bytes that were received and belong to no answer yet */
  get left(): string {
    return this.#received.toString("latin1");
  }

  /** stops reading: what is sent piles up on the other side */
  pause(): void {
    this.#socket.pause();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** One request on its own connection, which is closed afterwards. */
export const ask = async (port: number, request: string, isHead = false, from?: string): Promise<WireAnswer | undefined> => {
  const wire = await Wire.open(port, from);
  try {
    return await wire.write(request).answer(isHead);
  } finally {
    wire.destroy();
  }
};

/** A well-formed request. */
export const request = (method: string, path: string, headers: readonly string[] = [], body = ""): string =>
  [
    `${method} ${path} HTTP/1.1`,
    "Host: test",
    ...headers,
    ...(body === "" ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
    "",
    body,
  ].join("\r\n");
