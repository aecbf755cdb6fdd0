import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { signTicket, type TicketKeys } from "../../gateway/index.ts";
import { fire, type Magazine, type Reply, type Shot } from "./crowd-cannon.ts";
import { Ledger, Next, readAnswer } from "./crowd-ledger.ts";
import { lineUp } from "./crowd-lineup.ts";
import { ComeBack } from "./crowd-queue.ts";
import { openSockets } from "./crowd-sockets.ts";

export interface CrowdOptions {
  /** base URL */
  readonly gateway: string;
  readonly keys: TicketKeys;
  /** buyer n wants the sale n modulo their number */
  readonly sales: readonly string[];
  readonly buyers: number;
  /** how many of the buyers use a WebSocket */
  readonly sockets: number;
  readonly stop: AbortSignal;
}

interface BuyerShot extends Shot {
  readonly buyer: number;
}

/** HTTP connections: enough for batches, few enough for two cores. */
const CONNECTIONS = 128;
const TICKET_MS = 3_600_000;
/** Winners that send again. */
const RESEND = 0.1;
const RESEND_WITHIN_MS = 500;
/** After a broken connection or an answer without Retry-After. */
const AGAIN_MS = 200;
const NOT_FINAL_MS = 100;
/** The crowd goes home when nobody got a definite answer for this long. */
const PATIENCE_MS = 60_000;

export const uidOf = (buyer: number): string => `buyer-${buyer + 1}`;
/** The other way round. @returns -1 for a uid of somebody else */
export const buyerOf = (uid: string): number => (uid.startsWith("buyer-") ? Number(uid.slice("buyer-".length)) - 1 : -1);

/** A crowd of buyers, each with a ticket, who remember what they were told. */
export class Crowd {
  readonly ledger: Ledger;
  /** buy sent to order confirmed, in microseconds, of the buyers with a WebSocket */
  readonly confirmLatency: RecordableHistogram = createHistogram();
  readonly #options: CrowdOptions;
  readonly #expiresAtMs = Date.now() + TICKET_MS;
  #progressAt = 0;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.ledger = new Ledger(options.buyers);
  }

  /** Everybody fires, and comes back as told, until everybody has a definite answer (or nobody gets one any more). */
  async rush(onStart: () => void): Promise<void> {
    const options = this.#options;
    const byHttp = options.buyers - options.sockets;
    const sockets = await openSockets({
      gateway: options.gateway,
      first: byHttp,
      count: options.sockets,
      ticketOf: (buyer) => this.#ticketOf(buyer),
      ledger: this.ledger,
      confirmLatency: this.confirmLatency,
      stop: options.stop,
      patienceMs: PATIENCE_MS,
    });
    const lineup = lineUp(0, byHttp);
    this.#progressAt = performance.now();
    onStart();
    const magazine = this.#purchases(lineup);
    await Promise.all([sockets.rush(), byHttp === 0 ? undefined : this.#fire(magazine)]);
  }

  /**
   * Asks every winner's standing until it is final.
   * @param onFinal called once a winner with what GET says
   */
  async confirm(onFinal: (buyer: number, code: string) => void): Promise<void> {
    const winners = this.ledger.orderIds.flatMap((orderId, buyer) => (orderId === undefined ? [] : [buyer]));
    const later = new ComeBack<BuyerShot>();
    let sent = 0;
    this.#progressAt = performance.now();
    const again = (shot: BuyerShot, ms: number): void => later.add(shot, performance.now() + ms);
    await this.#fire({
      next: () => {
        const due = later.take(performance.now());
        if (due !== undefined || sent === winners.length) return due;
        const buyer = winners[sent] as number;
        sent += 1;
        return { buyer, method: "GET", path: `/buy/${this.#ticketOf(buyer)}` };
      },
      isEmpty: () => (sent === winners.length && later.size === 0) || this.#isHopeless(),
      failed: (shot) => again(shot, AGAIN_MS),
      answered: (shot, reply) => {
        const { code, orderId } = readAnswer(reply.status, reply.body);
        if (code !== "confirmed" && code !== "rejected" && code !== "none") {
          again(shot, code === "reserved" ? NOT_FINAL_MS : reply.retryAfterMs || AGAIN_MS);
          return;
        }
        this.#progressAt = performance.now();
        const told = this.ledger.orderIds[shot.buyer];
        if (code === "none" || orderId !== told)
          this.ledger.contradict(`${uidOf(shot.buyer)}: told ${told}, GET says ${code} ${orderId ?? ""}`);
        onFinal(shot.buyer, code);
      },
    });
  }

  #fire(magazine: Magazine<BuyerShot>): Promise<void> {
    return fire(magazine, { url: this.#options.gateway, connections: CONNECTIONS, stop: this.#options.stop });
  }

  #purchases(lineup: Uint32Array): Magazine<BuyerShot> {
    const { ledger } = this;
    const later = new ComeBack<BuyerShot>();
    let sent = 0;
    const again = (shot: BuyerShot, ms: number): void => later.add(shot, performance.now() + ms * (1 + Math.random() / 4));
    return {
      next: () => {
        const due = later.take(performance.now());
        if (due !== undefined || sent === lineup.length) return due;
        const buyer = lineup[sent] as number;
        sent += 1;
        return { buyer, method: "POST", path: `/buy/${this.#ticketOf(buyer)}` };
      },
      isEmpty: () => (sent === lineup.length && later.size === 0) || this.#isHopeless(),
      failed: (shot) => {
        ledger.failed();
        again(shot, AGAIN_MS);
      },
      answered: (shot, reply: Reply) => {
        const wins = ledger.counts.reserved;
        ledger.latency.record(Math.max(1, Math.round(reply.tookMs * 1_000)));
        if (ledger.record(shot.buyer, readAnswer(reply.status, reply.body)) === Next.again) {
          again(shot, reply.retryAfterMs || AGAIN_MS);
          return;
        }
        this.#progressAt = performance.now();
        if (ledger.counts.reserved > wins && Math.random() < RESEND) again(shot, Math.random() * RESEND_WITHIN_MS);
      },
    };
  }

  #isHopeless(): boolean {
    return performance.now() - this.#progressAt > PATIENCE_MS;
  }

  #ticketOf(buyer: number): string {
    const { keys, sales } = this.#options;
    const saleId = sales[buyer % sales.length] as string;
    return signTicket(keys, { saleId, uid: uidOf(buyer), expiresAtMs: this.#expiresAtMs });
  }
}
