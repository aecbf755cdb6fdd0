import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { parseOrderId } from "#protocol";
import { signTicket, type TicketKeys } from "../../gateway/index.ts";
import { sendAll, type CrowdRequest, type RequestSource } from "./crowd-http.ts";
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
  /** when a shard's Redis was last started without the data that it had, on performance.now()'s clock */
  readonly emptiedAtMs: (shard: number) => number | undefined;
  readonly stop: AbortSignal;
  /** requests a second that the buyers intend, whether answers come or not (open loop); by default as many as get through */
  readonly ratePerSecond?: number;
  /** before the buyers' numbers; another one makes other buyers */
  readonly uidPrefix?: string;
  readonly connections?: number;
}

interface BuyerRequest extends CrowdRequest {
  readonly buyer: number;
  /** when it was to be sent, on performance.now()'s clock; undefined: as soon as a connection is free */
  readonly intendedAt?: number;
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
/** Where requests have a time: so much later than intended at most does an idle connection send. */
const IDLE_MS = 1;

const microseconds = (ms: number): number => Math.max(1, Math.round(ms * 1_000));
const PREFIX = "buyer-";
/** The other way round. @returns -1 for a uid of somebody else */
export const buyerOf = (uid: string): number => (uid.startsWith(PREFIX) ? Number(uid.slice(PREFIX.length)) - 1 : -1);

/** A crowd of buyers, each with a ticket, who remember what they were answered. */
export class Crowd {
  readonly ledger: Ledger;
  /** buy sent to order confirmed, in microseconds, of the buyers with a WebSocket */
  readonly confirmLatency: RecordableHistogram = createHistogram();
  /** how much later than intended a request was sent, in microseconds: this crowd's own lag, part of every latency */
  readonly lag: RecordableHistogram = createHistogram();
  readonly #options: CrowdOptions;
  readonly #expiresAtMs = Date.now() + TICKET_MS;
  /** winners whose standing is final */
  readonly #isFinal: Uint8Array;
  #progressAt = 0;

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.ledger = new Ledger(options.buyers, (orderId) => {
      const place = parseOrderId(orderId);
      return place === undefined ? undefined : options.emptiedAtMs(place.shard);
    });
    this.#isFinal = new Uint8Array(options.buyers);
  }

  /** Everybody buys, and comes back when asked to, until everybody has a definite answer (or nobody gets one any more). */
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
      ...(options.ratePerSecond === undefined ? {} : { sendsAfterMs: this.#socketTimes(options.ratePerSecond) }),
    });
    const lineup = lineUp(0, byHttp);
    this.#progressAt = performance.now();
    onStart();
    const source = this.#purchases(lineup, this.#httpRate(options.ratePerSecond));
    await Promise.all([sockets.rush(), byHttp === 0 ? undefined : this.#send(source)]);
  }

  /** These buyers, whose reservation went down with a Redis, buy again, as anybody would. */
  async buyAgain(buyers: readonly number[]): Promise<void> {
    this.#progressAt = performance.now();
    await this.#send(this.#purchases(Uint32Array.from(buyers)));
  }

  /**
   * Asks every winner's standing until it is final; again only those who have won since.
   * @param onFinal called once a winner with what GET says
   * @returns buyers whose reservation went down with the data of its Redis
   */
  async confirm(onFinal: (buyer: number, code: string) => void): Promise<readonly number[]> {
    const gone: number[] = [];
    const winners = this.ledger.orderIds.flatMap((orderId, buyer) => (orderId === undefined || this.#isFinal[buyer] === 1 ? [] : [buyer]));
    const later = new ComeBack<BuyerRequest>();
    let sent = 0;
    this.#progressAt = performance.now();
    const again = (request: BuyerRequest, ms: number): void => later.add(request, performance.now() + ms);
    await this.#send({
      next: () => {
        const due = later.take(performance.now());
        if (due !== undefined || sent === winners.length) return due;
        const buyer = winners[sent] as number;
        sent += 1;
        return { buyer, method: "GET", path: `/buy/${this.#ticketOf(buyer)}` };
      },
      isEmpty: () => (sent === winners.length && later.size === 0) || this.#isHopeless(),
      failed: (request) => again(request, AGAIN_MS),
      answered: (request, answer) => {
        const { code, orderId } = readAnswer(answer.status, answer.body);
        if (code !== "confirmed" && code !== "rejected" && code !== "none") {
          again(request, code === "reserved" ? NOT_FINAL_MS : answer.retryAfterMs || AGAIN_MS);
          return;
        }
        this.#progressAt = performance.now();
        if (code === "none" && this.ledger.wentDown(request.buyer)) {
          gone.push(request.buyer);
          return;
        }
        this.#isFinal[request.buyer] = 1;
        const answered = this.ledger.orderIds[request.buyer];
        if (code === "none" || orderId !== answered)
          this.ledger.contradict(`${this.#uidOf(request.buyer)}: answered ${answered}, GET says ${code} ${orderId ?? ""}`);
        onFinal(request.buyer, code);
      },
    });
    return gone;
  }

  #send(source: RequestSource<BuyerRequest>): Promise<void> {
    const { gateway, stop, ratePerSecond, connections = CONNECTIONS } = this.#options;
    return sendAll(source, { url: gateway, connections, stop, ...(ratePerSecond === undefined ? {} : { idleMs: IDLE_MS }) });
  }

  /** Those on sockets send in even steps beside the others, and both are through at the same time. */
  #socketTimes(ratePerSecond: number): (index: number) => number {
    const stepMs = (1_000 * this.#options.buyers) / (ratePerSecond * this.#options.sockets);
    return (index) => index * stepMs;
  }

  #httpRate(ratePerSecond: number | undefined): number | undefined {
    const { buyers, sockets } = this.#options;
    return ratePerSecond === undefined ? undefined : (ratePerSecond * (buyers - sockets)) / buyers;
  }

  /** @param ratePerSecond the line sends in even steps; undefined: as fast as answers come */
  #purchases(lineup: Uint32Array, ratePerSecond?: number): RequestSource<BuyerRequest> {
    const { ledger } = this;
    const startedAt = performance.now();
    const intendedAt = (place: number): number | undefined =>
      ratePerSecond === undefined ? undefined : startedAt + (place * 1_000) / ratePerSecond;
    const later = new ComeBack<BuyerRequest>();
    let sent = 0;
    let isNewcomersTurn = false;
    const again = ({ buyer, method, path }: BuyerRequest, ms: number): void => {
      const atMs = performance.now() + ms * (1 + Math.random() / 4);
      later.add({ buyer, method, path, ...(ratePerSecond === undefined ? {} : { intendedAt: atMs }) }, atMs);
    };
    return {
      next: () => {
        // In turns: those who are asked to come again may be so many that they would take all connections for themselves.
        isNewcomersTurn = !isNewcomersTurn;
        const now = performance.now();
        const intended = intendedAt(sent);
        const isDue = sent < lineup.length && (intended === undefined || intended <= now);
        const due = isNewcomersTurn && isDue ? undefined : later.take(now);
        if (due !== undefined || !isDue) return due;
        const buyer = lineup[sent] as number;
        sent += 1;
        const request: BuyerRequest = { buyer, method: "POST", path: `/buy/${this.#ticketOf(buyer)}` };
        return intended === undefined ? request : { ...request, intendedAt: intended };
      },
      isEmpty: () => (sent === lineup.length && later.size === 0) || this.#isHopeless(),
      failed: (request) => {
        ledger.failed();
        again(request, AGAIN_MS);
      },
      answered: (request, answer) => {
        const wins = ledger.counts.reserved;
        this.#took(request, answer.tookMs);
        if (ledger.record(request.buyer, readAnswer(answer.status, answer.body)) === Next.again) {
          again(request, answer.retryAfterMs || AGAIN_MS);
          return;
        }
        this.#progressAt = performance.now();
        if (ledger.counts.reserved > wins && Math.random() < RESEND) again(request, Math.random() * RESEND_WITHIN_MS);
      },
    };
  }

  /** Latency from when a request was to be sent: one that waited for a connection has waited for the server (coordinated omission). */
  #took({ intendedAt }: BuyerRequest, tookMs: number): void {
    const lagMs = intendedAt === undefined ? 0 : Math.max(0, performance.now() - tookMs - intendedAt);
    if (intendedAt !== undefined) this.lag.record(microseconds(lagMs));
    this.ledger.latency.record(microseconds(lagMs + tookMs));
  }

  #isHopeless(): boolean {
    return performance.now() - this.#progressAt > PATIENCE_MS;
  }

  #ticketOf(buyer: number): string {
    const { keys, sales } = this.#options;
    const saleId = sales[buyer % sales.length] as string;
    return signTicket(keys, { saleId, uid: this.#uidOf(buyer), expiresAtMs: this.#expiresAtMs });
  }

  #uidOf(buyer: number): string {
    return `${this.#options.uidPrefix ?? PREFIX}${buyer + 1}`;
  }
}
