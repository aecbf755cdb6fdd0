import { connect, type Socket } from "node:net";
import { addresses } from "./prepared-requests.ts";
import { clientFrame, FrameReader } from "./frames.ts";
import type { LiveMessage, LiveOrder } from "./live.ts";

/** Buyers on WebSockets: connects them all, then lets them buy, so many purchases on their way over all sockets. */
const UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
/** More at a time only fill the server's queue of new connections. */
const CONNECTING = 200;

const tell = (message: LiveMessage): void => void process.send?.(message);

interface Buyer {
  readonly socket: Socket;
  bought: number;
}

const open = (order: LiveOrder, ticket: string, onText: (text: string, buyer: Buyer) => void): Promise<Buyer> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: order.host, port: order.port, noDelay: true });
    const buyer: Buyer = { socket, bought: 0 };
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("a connection was closed")));
    socket.once("connect", () => socket.write(`GET /live?ticket=${ticket} HTTP/1.1\r\nHost: ${order.host}\r\n${UPGRADE}\r\n`));
    socket.once("data", (answer: Buffer) => {
      if (!answer.toString("latin1").startsWith("HTTP/1.1 101")) {
        reject(new Error(`not upgraded: ${answer.toString("latin1").slice(0, 200)}`));
        return;
      }
      const frames = new FrameReader((text) => onText(text, buyer));
      socket.on("data", (piece: Buffer) => frames.read(piece));
      resolve(buyer);
    });
  });

const run = async (order: LiveOrder): Promise<{ readonly count: number; readonly seconds: number }> => {
  const { buyers, each, onTheWay, warmUp } = order;
  const frames = Array.from({ length: each }, (_, index) => clientFrame(`{"op":"buy","ref":${index},"key":"k${index}"}`));
  const all = buyers * each;
  let answered = 0;
  let sent = 0;
  let beginMs = 0;
  let finish: (value: { count: number; seconds: number }) => void;
  let fail: (error: Error) => void;
  const end = new Promise<{ count: number; seconds: number }>((resolve, reject) => {
    finish = resolve;
    fail = reject;
  });
  const lineUp: Buyer[] = [];
  const next = (): void => {
    if (sent === all) return;
    // In turn: the pace of one buyer stays far below what one buyer may.
    const buyer = lineUp[sent % buyers] as Buyer;
    sent += 1;
    buyer.socket.write(frames[buyer.bought] as Buffer);
    buyer.bought += 1;
  };
  const onText = (text: string): void => {
    if (!text.includes('"op":"outcome"')) return;
    if (!text.includes('"reserved"')) fail(new Error(`a buyer heard ${text}`));
    answered += 1;
    if (answered === warmUp) {
      beginMs = performance.now();
      tell({ kind: "begin" });
    }
    if (answered === all) finish({ count: all - warmUp, seconds: (performance.now() - beginMs) / 1_000 });
    else next();
  };
  const tickets = addresses({ keys: order.keys, saleId: order.saleId, prefix: order.prefix, count: buyers });
  const connecting = async (): Promise<void> => {
    for (const ticket of tickets) lineUp.push(await open(order, ticket, onText));
  };
  await Promise.all(Array.from({ length: CONNECTING }, connecting));
  for (let first = 0; first < onTheWay; first += 1) next();
  return end;
};

process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
process.once("message", (order: LiveOrder) => {
  run(order).then(
    ({ count, seconds }) => tell({ kind: "end", count, seconds }),
    (error: unknown) => tell({ kind: "broken", why: (error as Error).message }),
  );
});
