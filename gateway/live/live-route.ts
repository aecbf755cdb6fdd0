import type { Cancel, BuyService } from "../buy/service.ts";
import { OutcomeCode, refusals, type Outcome } from "../buy/outcome.ts";
import type { Exchange } from "../http/exchange.ts";
import { problemOf } from "../http/problem.ts";
import { CloseCode, type Socket, type SocketRoute } from "../http/socket-route.ts";
import { readTicket, verifyTicket, type TicketKeys } from "../identity/ticket.ts";
import type { OutcomeCounts } from "../buy/outcome-counts.ts";
import { errorFrame, MAX_FRAME_BYTES, outcomeFrame, readFrame, statusFrame } from "./frames.ts";

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
  undecided: number;
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
  /** tells everybody to connect again, elsewhere */
  closeAll(): void;
  sockets(): number;
}

/** `GET /live?ticket=`: a WebSocket that buys, and hears of every change of its buyer's orders in the ticket's sale. */
export const liveRoute = (prefix: string, service: BuyService, keys: TicketKeys, told: OutcomeCounts, nowMs: () => number): Live => {
  const sockets = new Set<Socket<Visitor>>();
  const perBuyer = new Map<string, number>();
  let closing = false;

  const buyerOf = (visitor: Visitor): string => `${visitor.saleId} ${visitor.uid}`;

  const refusalOf = (ticket: string): Outcome | { readonly saleId: string; readonly uid: string } => {
    if (closing) return refusals.stopping;
    const read = readTicket(ticket);
    if (read === undefined) return refusals.ticketInvalid;
    const verdict = verifyTicket(keys, ticket, nowMs());
    if (verdict !== "ok") return verdict === "ticket_expired" ? refusals.ticketExpired : refusals.ticketInvalid;
    // not asked whether the sale is known here: the ticket is genuine, and a buy on the socket looks for it
    if (sockets.size >= MAX_SOCKETS) return refusals.busy;
    if ((perBuyer.get(`${read.saleId} ${read.uid}`) ?? 0) >= MAX_SOCKETS_PER_BUYER) return tooManySockets;
    return read;
  };

  const admit = (exchange: Exchange, ticket: string): Visitor | undefined => {
    const admitted = refusalOf(ticket);
    if ("code" in admitted) {
      told[admitted.code] += 1;
      exchange.answer(problemOf(admitted));
      return undefined;
    }
    const { saleId, uid } = admitted;
    return { ticket, saleId, uid, address: exchange.address, badFrames: 0, undecided: 0, cancelWatch: undefined };
  };

  const open = (socket: Socket<Visitor>): void => {
    const visitor = socket.data;
    sockets.add(socket);
    perBuyer.set(buyerOf(visitor), (perBuyer.get(buyerOf(visitor)) ?? 0) + 1);
    visitor.cancelWatch = service.watchBuyer(visitor.saleId, visitor.uid, (outcome) => socket.send(statusFrame(outcome)));
  };

  const closed = (socket: Socket<Visitor>): void => {
    const visitor = socket.data;
    sockets.delete(socket);
    const left = (perBuyer.get(buyerOf(visitor)) ?? 1) - 1;
    if (left <= 0) perBuyer.delete(buyerOf(visitor));
    else perBuyer.set(buyerOf(visitor), left);
    visitor.cancelWatch?.();
  };

  const misunderstood = (socket: Socket<Visitor>, code: "bad_request" | "too_large", detail: string): void => {
    socket.send(errorFrame(code, detail));
    socket.data.badFrames += 1;
    if (socket.data.badFrames >= MAX_BAD_FRAMES) socket.close(CloseCode.policy, "too many bad frames");
  };

  const message = (socket: Socket<Visitor>, text: string | undefined, bytes: number): void => {
    if (bytes > MAX_FRAME_BYTES) {
      misunderstood(socket, "too_large", `A frame has at most ${MAX_FRAME_BYTES} bytes.`);
      return;
    }
    const frame = text === undefined ? "Frames are text." : readFrame(text);
    if (typeof frame === "string") {
      misunderstood(socket, "bad_request", frame);
      return;
    }
    const visitor = socket.data;
    const { ref, units, key } = frame;
    const tell = (outcome: Outcome): void => {
      told[outcome.code] += 1;
      socket.send(outcomeFrame(ref, outcome));
    };
    if (visitor.undecided >= MAX_UNDECIDED) {
      tell(tooManyUndecided);
      return;
    }
    visitor.undecided += 1;
    service.buy({ ticket: visitor.ticket, address: visitor.address, units, key }, (outcome) => {
      visitor.undecided -= 1;
      tell(outcome);
    });
  };

  return {
    route: { pattern: `${prefix}/live`, query: "ticket", admit, open, message, closed },
    closeAll: () => {
      closing = true;
      for (const socket of sockets) socket.close(CloseCode.restart, "restarting, connect again");
    },
    sockets: () => sockets.size,
  };
};
