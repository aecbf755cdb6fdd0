import type { Cancel, BuyService } from "../buy/service.ts";
import { OutcomeCode, refusals, type Outcome } from "../buy/outcome.ts";
import type { Exchange } from "../http/exchange.ts";
import { edgeAnswers, problemOf } from "../http/problem.ts";
import { CloseCode, type Socket, type SocketRoute } from "../http/socket-route.ts";
import { readTicket, verifyTicket, type TicketKeys } from "../identity/ticket.ts";
import type { OutcomeCounts } from "../buy/outcome-counts.ts";
import { errorFrame, MAX_FRAME_BYTES, outcomeFrame, readFrame, type UpFrame } from "./frames.ts";
import { OutcomeFirst } from "./outcome-first.ts";

/** A client that goes on sending what is not understood is closed. */
const MAX_BAD_FRAMES = 3;
/** Buys of one socket that may be undecided together. */
const MAX_UNDECIDED = 16;
/** Sockets of one buyer in one sale: a few devices and tabs. */
const MAX_SOCKETS_PER_BUYER = 8;
/** Sockets of one process: some 10 kB each. */
const MAX_SOCKETS = 50_000;

interface Visitor {
  readonly ticket: string;
  readonly saleId: string;
  readonly uid: string;
  /** key of the address bucket (admission/address.ts) */
  readonly address: string;
  badFrames: number;
  cancelWatch: Cancel | undefined;
}

const tooManySockets: Outcome = Object.freeze({
  code: OutcomeCode.rateLimited,
  retryAfterMs: 5_000,
  detail: "This buyer has too many connections to this sale.",
});
const tooManyUndecided: Outcome = Object.freeze({
  code: OutcomeCode.rateLimited,
  retryAfterMs: 1_000,
  detail: "Too many buys on this connection are undecided.",
});

export interface Live {
  readonly route: SocketRoute<Visitor>;
  /** asks everybody to connect again, elsewhere */
  closeAll(): void;
  sockets(): number;
}

interface LiveOptions {
  readonly service: BuyService;
  readonly keys: TicketKeys;
  /** counts what is answered */
  readonly answered: OutcomeCounts;
  /** wall clock, ms since 1970 */
  readonly nowMs: () => number;
}

const buyerOf = ({ saleId, uid }: { readonly saleId: string; readonly uid: string }): string => `${saleId} ${uid}`;

/** The open sockets of a process and what becomes of their frames. */
class LiveSockets {
  readonly #options: LiveOptions;
  readonly #sockets = new Map<Socket<Visitor>, OutcomeFirst>();
  readonly #perBuyer = new Map<string, number>();
  #isClosing = false;

  constructor(options: LiveOptions) {
    this.#options = options;
  }

  get count(): number {
    return this.#sockets.size;
  }

  admit(exchange: Exchange, ticket: string): Visitor | undefined {
    const admitted = this.#refusalOf(ticket);
    if ("code" in admitted) {
      this.#options.answered[admitted.code] += 1;
      exchange.answer(problemOf(admitted));
      return undefined;
    }
    const { saleId, uid } = admitted;
    return { ticket, saleId, uid, address: exchange.address, badFrames: 0, cancelWatch: undefined };
  }

  open(socket: Socket<Visitor>): void {
    const visitor = socket.data;
    const buyer = buyerOf(visitor);
    this.#perBuyer.set(buyer, (this.#perBuyer.get(buyer) ?? 0) + 1);
    const order = new OutcomeFirst((frame) => socket.send(frame));
    this.#sockets.set(socket, order);
    visitor.cancelWatch = this.#options.service.watchBuyer(visitor.saleId, visitor.uid, (outcome) => order.push(outcome));
  }

  closed(socket: Socket<Visitor>): void {
    const buyer = buyerOf(socket.data);
    this.#sockets.delete(socket);
    const left = (this.#perBuyer.get(buyer) ?? 1) - 1;
    if (left <= 0) this.#perBuyer.delete(buyer);
    else this.#perBuyer.set(buyer, left);
    socket.data.cancelWatch?.();
  }

  message(socket: Socket<Visitor>, text: string | undefined, bytes: number): void {
    if (bytes > MAX_FRAME_BYTES) return this.#misunderstood(socket, "too_large", `A frame has at most ${MAX_FRAME_BYTES} bytes.`);
    const frame = text === undefined ? "Frames are text." : readFrame(text);
    if (typeof frame === "string") return this.#misunderstood(socket, "bad_request", frame);
    this.#buy(socket, frame);
  }

  closeAll(): void {
    this.#isClosing = true;
    for (const socket of this.#sockets.keys()) socket.close(CloseCode.restart, "restarting, connect again");
  }

  #buy(socket: Socket<Visitor>, { ref, units, key }: UpFrame): void {
    const { service, answered } = this.#options;
    const visitor = socket.data;
    const order = this.#sockets.get(socket);
    if (order === undefined) return;
    if (order.undecided >= MAX_UNDECIDED) {
      answered[tooManyUndecided.code] += 1;
      return socket.send(outcomeFrame(ref, tooManyUndecided));
    }
    const answer = order.begin();
    service.buy({ ticket: visitor.ticket, address: visitor.address, units, key }, (outcome) => {
      answered[outcome.code] += 1;
      answer(outcome, outcomeFrame(ref, outcome));
    });
  }

  #misunderstood(socket: Socket<Visitor>, code: "bad_request" | "too_large", detail: string): void {
    socket.send(errorFrame(code, detail));
    socket.data.badFrames += 1;
    if (socket.data.badFrames >= MAX_BAD_FRAMES)
      socket.close(CloseCode.policy, `${MAX_BAD_FRAMES} frames were not understood; the last: ${detail}`);
  }

  #refusalOf(ticket: string): Outcome | { readonly saleId: string; readonly uid: string } {
    const { keys, nowMs } = this.#options;
    if (this.#isClosing) return refusals.stopping;
    const read = readTicket(ticket);
    if (read === undefined) return refusals.ticketInvalid;
    const verdict = verifyTicket(keys, ticket, nowMs());
    if (verdict !== "ok") return verdict === "ticket_expired" ? refusals.ticketExpired : refusals.ticketInvalid;
    // not asked whether the sale is known here: the ticket is genuine, and a buy on the socket looks for it
    if (this.#sockets.size >= MAX_SOCKETS) return refusals.busy;
    if ((this.#perBuyer.get(buyerOf(read)) ?? 0) >= MAX_SOCKETS_PER_BUYER) return tooManySockets;
    return read;
  }
}

/** `GET /live?ticket=`: a WebSocket that buys, and hears of every change of its buyer's orders in the ticket's sale. */
export const liveRoute = (prefix: string, service: BuyService, keys: TicketKeys, answered: OutcomeCounts, nowMs: () => number): Live => {
  const sockets = new LiveSockets({ service, keys, answered, nowMs });
  return {
    route: {
      pattern: `${prefix}/live`,
      query: "ticket",
      foreign: () => {
        answered[OutcomeCode.originNotAllowed] += 1;
        return edgeAnswers.originNotAllowed;
      },
      admit: (exchange, ticket) => sockets.admit(exchange, ticket),
      open: (socket) => sockets.open(socket),
      message: (socket, text, bytes) => sockets.message(socket, text, bytes),
      closed: (socket) => sockets.closed(socket),
    },
    closeAll: () => sockets.closeAll(),
    sockets: () => sockets.count,
  };
};
