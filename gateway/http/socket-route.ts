import type { HttpRequest, HttpResponse, us_socket_context_t, WebSocket } from "uWebSockets.js";
import type { Answer } from "./answer.ts";
import type { TemplatedApp } from "./app.ts";
import { Exchange, type Edge } from "./exchange.ts";
import { refusalOfHandshake } from "./handshake.ts";
import { mountOptions } from "./options.ts";
import { edgeAnswers } from "./problem.ts";
import { readHead } from "./request-head.ts";
import { refusalOfHead } from "./wrapper.ts";

/** uWebSockets.js cuts the connection above this without a word; a route's own, smaller bound can still be explained. */
const MAX_PAYLOAD_BYTES = 16 * 1_024;
/** What may wait for a slow reader; the connection is closed before a frame would be dropped unseen. */
const MAX_BACKPRESSURE_BYTES = 64 * 1_024;
/** uWebSockets.js pings in time by itself; a peer that does not answer is closed. */
const IDLE_SECONDS = 60;

/** RFC 6455 section 7.4 and the registry. */
export const CloseCode = { unsupported: 1003, policy: 1008, fault: 1011, restart: 1012 } as const;
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];

/** RFC 6455 5.5: a control frame has at most 125 bytes, two of them the code. */
const MAX_REASON_BYTES = 123;
const ELLIPSIS_BYTES = Buffer.byteLength("…");

/** The reason as far as it fits, cut between two characters; half a character would break the frame. */
export const closeReason = (reason: string): string => {
  if (Buffer.byteLength(reason) <= MAX_REASON_BYTES) return reason;
  const bytes = Buffer.from(reason).subarray(0, MAX_REASON_BYTES - ELLIPSIS_BYTES);
  // A character cut in two decodes to U+FFFD at the end.
  return `${bytes.toString("utf8").replace(/\uFFFD+$/, "")}…`;
};

/** An upgraded connection. Everything is a no-op after its close, where uWebSockets.js itself would throw. */
export interface Socket<Data> {
  readonly data: Data;
  send(frame: string): void;
  close(code: CloseCode, reason: string): void;
}

export interface SocketRoute<Data> {
  readonly pattern: string;
  /** the query parameter that `admit` gets */
  readonly query: string;
  /** the answer to a page of a foreign origin: browsers let every page open a WebSocket to everywhere */
  readonly foreign: () => Answer;
  /** @returns the new socket's data, or undefined after it has answered the exchange with a refusal */
  readonly admit: (exchange: Exchange, query: string) => Data | undefined;
  readonly open: (socket: Socket<Data>) => void;
  /** @param text undefined for a binary frame */
  readonly message: (socket: Socket<Data>, text: string | undefined, bytes: number) => void;
  readonly closed: (socket: Socket<Data>) => void;
}

/** uWebSockets.js keeps this with the connection from the upgrade on. */
interface Slot<Data> {
  readonly data: Data;
  socket?: OpenSocket<Data>;
}

class OpenSocket<Data> implements Socket<Data> {
  readonly data: Data;
  #ws: WebSocket<Slot<Data>> | undefined;

  constructor(ws: WebSocket<Slot<Data>>) {
    this.data = ws.getUserData().data;
    this.#ws = ws;
  }

  send(frame: string): void {
    this.#ws?.send(frame, false);
  }

  close(code: CloseCode, reason: string): void {
    this.#ws?.end(code, closeReason(reason));
  }

  /** the connection is gone */
  detach(): void {
    this.#ws = undefined;
  }
}

/** Bytes behind an upgrade are frames: a body that was announced would be read as such. */
const refusalOf = (exchange: Exchange, req: HttpRequest): Answer | undefined => {
  const isLengthy = exchange.head.lengths > 0;
  if (isLengthy) exchange.endConnection();
  return refusalOfHead(exchange, false) ?? (isLengthy ? edgeAnswers.bodyUnwanted : refusalOfHandshake(req));
};

/** Its answer, if it gets one instead of the upgrade, is its connection's last. */
const lastExchange = (edge: Edge, res: HttpResponse, req: HttpRequest, isHead: boolean): Exchange => {
  const head = readHead(req, edge.clients.addressHeader);
  edge.clients.lookAt(res, head);
  const exchange = new Exchange(edge, res, { head, reader: edge.origins.readerOf(head, req), isHead });
  exchange.closeAfter();
  return exchange;
};

/** Registers a WebSocket route behind the same checks as every other (route.ts); a throw in a handler closes that socket only. */
export const mountSocketRoute = <Data>(app: TemplatedApp, edge: Edge, route: SocketRoute<Data>): void => {
  const guarded = (socket: Socket<Data>, run: () => void): void => {
    try {
      run();
    } catch (error) {
      edge.onFault(error);
      socket.close(CloseCode.fault, "fault");
    }
  };

  app.ws<Slot<Data>>(route.pattern, {
    maxPayloadLength: MAX_PAYLOAD_BYTES,
    maxBackpressure: MAX_BACKPRESSURE_BYTES,
    closeOnBackpressureLimit: 1,
    idleTimeout: IDLE_SECONDS,
    sendPingsAutomatically: true,
    upgrade: (res: HttpResponse, req: HttpRequest, context: us_socket_context_t) => {
      const exchange = lastExchange(edge, res, req, false);
      let data: Data | undefined;
      try {
        const bad = refusalOf(exchange, req);
        if (bad !== undefined) exchange.answer(bad);
        else if (exchange.reader.isForeign) exchange.answer(route.foreign());
        else data = route.admit(exchange, req.getQuery(route.query) ?? "");
      } catch (error) {
        edge.onFault(error);
        exchange.answer(edgeAnswers.fault);
      }
      if (data === undefined || exchange.over) {
        exchange.leaveHandler();
        return;
      }
      // No subprotocol and no extension is taken up, so nothing of the client's goes into the answer but the key's hash.
      res.upgrade<Slot<Data>>({ data }, req.getHeader("sec-websocket-key"), "", "", context);
    },
    open: (ws) => {
      const socket = new OpenSocket(ws);
      ws.getUserData().socket = socket;
      guarded(socket, () => route.open(socket));
    },
    message: (ws, message, isBinary) => {
      const { socket } = ws.getUserData();
      if (socket === undefined) return;
      guarded(socket, () => route.message(socket, isBinary ? undefined : Buffer.from(message).toString("utf8"), message.byteLength));
    },
    close: (ws) => {
      const { socket } = ws.getUserData();
      if (socket === undefined) return;
      socket.detach();
      guarded(socket, () => route.closed(socket));
    },
  });
  // What uWebSockets.js does not take for a handshake comes here.
  const refuse = (isHead: boolean) => (res: HttpResponse, req: HttpRequest) => {
    const exchange = lastExchange(edge, res, req, isHead);
    exchange.answer(refusalOf(exchange, req) ?? edgeAnswers.fault);
    exchange.leaveHandler();
  };
  mountOptions(app, edge, { pattern: route.pattern, pages: "listed", methods: ["GET"] });
  app.head(route.pattern, refuse(true));
  app.any(route.pattern, refuse(false));
};
