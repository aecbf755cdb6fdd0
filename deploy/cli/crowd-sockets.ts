import type { RecordableHistogram } from "node:perf_hooks";
import { WebSocket } from "ws";
import { Next, type Ledger } from "./crowd-ledger.ts";

export interface SocketsOptions {
  /** base URL of the gateway */
  readonly gateway: string;
  /** lowest buyer's number */
  readonly first: number;
  readonly count: number;
  readonly ticketOf: (buyer: number) => string;
  readonly ledger: Ledger;
  /** buy sent to `confirmed` pushed, in microseconds */
  readonly confirmLatency: RecordableHistogram;
  readonly stop: AbortSignal;
  /** buyers without a final answer go home so long after the last of them has sent */
  readonly patienceMs: number;
  /** when each buyer sends, ms after the start; by default all within 300 ms, at random */
  readonly sendsAfterMs?: (index: number) => number;
}

/** All sockets buy within this after the start. */
const SPREAD_MS = 300;
const RECONNECT_MS = 300;
/** A push that does not come: asking again tells the truth. */
const ASK_AGAIN_MS = 5_000;
/** Buyers that send the same purchase twice at once. */
const DOUBLE = 0.2;

interface Frame {
  readonly op?: unknown;
  readonly ref?: unknown;
  readonly code?: unknown;
  readonly orderId?: unknown;
  readonly retryAfterMs?: unknown;
}

const readFrame = (data: unknown): Frame => {
  try {
    return JSON.parse(String(data)) as Frame;
  } catch {
    return {};
  }
};

/** One buyer on one socket at a time: connects again when it breaks, until the order is final or there is none. */
class SocketBuyer {
  readonly opened: Promise<void>;
  readonly done: Promise<void>;
  readonly #options: SocketsOptions;
  readonly #buyer: number;
  #socket: WebSocket | undefined;
  #isBuying = false;
  #isDone = false;
  #isFinal = false;
  #sentAt = 0;
  /** when the first purchase was to be sent: latency counts from then, also where the socket was not open */
  #intendedAt: number | undefined;
  /** when the purchase that won was sent; 0 before it is answered */
  #wonAt = 0;
  /** the order that was last pushed as confirmed */
  #pushed: string | undefined;
  #undecided = 0;
  #askAgain: NodeJS.Timeout | undefined;
  #resolveOpened: () => void = () => undefined;
  #resolveDone: () => void = () => undefined;

  constructor(buyer: number, options: SocketsOptions) {
    this.#buyer = buyer;
    this.#options = options;
    this.opened = new Promise((resolve) => {
      this.#resolveOpened = resolve;
    });
    this.done = new Promise((resolve) => {
      this.#resolveDone = resolve;
    });
    this.#connect();
  }

  /** @param intendedAt on performance.now()'s clock; a timer is late when this process is busy */
  buy(intendedAt: number): void {
    this.#isBuying = true;
    this.#intendedAt = intendedAt;
    this.#send();
    if (Math.random() < DOUBLE) this.#send();
  }

  finish(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    clearTimeout(this.#askAgain);
    this.#socket?.close();
    this.#resolveOpened();
    this.#resolveDone();
  }

  #connect(): void {
    if (this.#isDone) return;
    const url = `${this.#options.gateway.replace(/^http/, "ws")}/live?ticket=${this.#options.ticketOf(this.#buyer)}`;
    const socket = new WebSocket(url, { perMessageDeflate: false });
    this.#socket = socket;
    socket.on("open", () => {
      this.#resolveOpened();
      if (this.#isBuying) this.#send();
    });
    socket.on("message", (data) => this.#heard(readFrame(data)));
    // an error is always followed by close
    socket.on("error", () => undefined);
    socket.on("close", () => {
      // purchases whose answer went down with the socket
      for (; this.#undecided > 0; this.#undecided -= 1) this.#options.ledger.failed();
      if (!this.#isDone) setTimeout(() => this.#connect(), RECONNECT_MS * (1 + Math.random()));
    });
  }

  #send(): void {
    if (this.#isDone || this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#undecided += 1;
    this.#sentAt = this.#intendedAt ?? performance.now();
    this.#intendedAt = undefined;
    this.#socket.send(`{"op":"buy","ref":${this.#buyer}}`);
    this.#later(ASK_AGAIN_MS);
  }

  /** Asks again after `ms` unless the order is final before. */
  #later(ms: number): void {
    clearTimeout(this.#askAgain);
    this.#askAgain = setTimeout(() => this.#send(), ms);
  }

  #heard(frame: Frame): void {
    if (this.#isDone || !this.#isBuying) return;
    const code = typeof frame.code === "string" ? frame.code : undefined;
    const orderId = typeof frame.orderId === "string" ? frame.orderId : undefined;
    if (frame.op === "outcome") this.#decided(code, orderId, frame.retryAfterMs);
    else if (frame.op === "status") this.#changed(code, orderId);
    // the second purchase of a double click may still be on its way
    if (this.#isFinal && this.#undecided === 0) this.finish();
  }

  #decided(code: string | undefined, orderId: string | undefined, retryAfterMs: unknown): void {
    const { ledger } = this.#options;
    this.#undecided -= 1;
    const wins = ledger.counts.reserved;
    if (ledger.record(this.#buyer, { status: 0, code, orderId }) === Next.again) {
      this.#later(typeof retryAfterMs === "number" ? retryAfterMs : RECONNECT_MS);
      return;
    }
    if (ledger.counts.reserved > wins) this.#wonAt = this.#sentAt;
    // what another connection of this buyer bought may be pushed before this one's answer comes
    if (code === "confirmed" || (code === "reserved" && orderId === this.#pushed)) this.#confirmed();
    else if (code !== "reserved") this.#isFinal = true;
  }

  #changed(code: string | undefined, orderId: string | undefined): void {
    const { ledger } = this.#options;
    const answered = ledger.orderIds[this.#buyer];
    if (answered !== undefined && answered !== orderId && !ledger.wentDown(this.#buyer))
      ledger.contradict(`buyer ${this.#buyer}: answered ${answered}, pushed ${orderId}`);
    if (code === "confirmed") {
      ledger.confirmed(this.#buyer);
      this.#pushed = orderId;
      this.#confirmed();
    } else if (code === "rejected") this.#isFinal = true;
    else if (code === "not_survived") this.#later(RECONNECT_MS);
  }

  #confirmed(): void {
    // without an answer yet there is no latency: the answer brings it
    if (this.#isFinal || this.#wonAt === 0) return;
    this.#isFinal = true;
    this.#options.confirmLatency.record(Math.max(1, Math.round((performance.now() - this.#wonAt) * 1_000)));
  }
}

/** Connects all sockets (or as many as can be within the patience). */
export const openSockets = async (options: SocketsOptions): Promise<{ rush(): Promise<void> }> => {
  const buyers = Array.from({ length: options.count }, (_, index) => new SocketBuyer(options.first + index, options));
  const finishAll = (): void => {
    for (const buyer of buyers) buyer.finish();
  };
  options.stop.addEventListener("abort", finishAll, { once: true });
  const patience = (): NodeJS.Timeout => setTimeout(finishAll, options.patienceMs);
  let timer = patience();
  await Promise.all(buyers.map((buyer) => buyer.opened));
  clearTimeout(timer);
  return {
    rush: async () => {
      const startedAt = performance.now();
      let lastMs = 0;
      const starts = buyers.map((buyer, index) => {
        const afterMs = options.sendsAfterMs?.(index) ?? Math.random() * SPREAD_MS;
        lastMs = Math.max(lastMs, afterMs);
        return setTimeout(() => buyer.buy(startedAt + afterMs), afterMs);
      });
      timer = setTimeout(finishAll, lastMs + options.patienceMs);
      await Promise.all(buyers.map((buyer) => buyer.done));
      for (const start of starts) clearTimeout(start);
      clearTimeout(timer);
      options.stop.removeEventListener("abort", finishAll);
    },
  };
};
