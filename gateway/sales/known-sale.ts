// oxlint-disable-next-line import/no-nodejs-modules -- a digest: the same of the same bytes
import { createHash } from "node:crypto";
import { homeShard } from "#protocol/home-shard";
import type { SaleRecord } from "#protocol/sale";
import { SaleState, SOLD_OUT_LEASE_MS } from "#protocol/sale";
import type { Ceiling } from "../admission/admission.ts";
import type { Winners } from "./winners.ts";

/**
 * A gateway refuses by its own clock what is earlier than this before the opening, or later after the end; the rest is
 * Redis's to judge, so that a gateway whose clock is a little off keeps nobody out of a sale that is open.
 */
export const WINDOW_SLACK_MS = 250;
/** The wall clock is read so often for the end of a sale, and not once for each loser of a crowd. */
const END_LOOK_MS = 100;

/** Bytes of GET /sales/:id, made once a change and not once a read. */
export interface SaleView {
  readonly record: SaleRecord;
  readonly soldOut: boolean;
  /** a quoted strong validator (RFC 9110) of `body` */
  readonly etag: string;
  /** JSON; the server's time goes into a header, so that the bytes can be cached */
  readonly body: Buffer;
}

/**
 * What the public may see of a record, by name: a field that a record gets later is not public by itself. That a closed sale is
 * archived is nobody's business.
 */
const publicPart = ({
  id,
  campaign,
  title,
  totalUnits,
  priceMinor,
  currency,
  opensAtMs,
  closesAtMs,
  limitPerBuyer,
  payWithinMs,
  state,
}: SaleRecord): Omit<SaleRecord, "shards" | "version"> => ({
  id,
  campaign,
  title,
  totalUnits,
  priceMinor,
  currency,
  opensAtMs,
  closesAtMs,
  limitPerBuyer,
  payWithinMs,
  state: state === SaleState.archived ? SaleState.closed : state,
});

const viewOf = (record: SaleRecord, soldOut: boolean): SaleView => {
  const body = Buffer.from(JSON.stringify({ ...publicPart(record), soldOut }));
  return { record, soldOut, etag: `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`, body };
};

/** A sold-out flag as it was last heard of (DESIGN 7.4). */
interface Flag {
  readonly version: number;
  /** monotonic ms: believed before this */
  readonly untilMs: number;
}

/** A sale as this process knows it. */
export class KnownSale {
  /** the sale's own token bucket */
  readonly ceiling: Ceiling = { fullMs: 0 };
  /** somebody was let through by the wall clock: it need not be read again for this sale */
  hasOpened = false;
  #record: SaleRecord;
  #views: { readonly selling: SaleView; readonly soldOut: SaleView };
  #flag: Flag | undefined;
  #isOver = false;
  /** monotonic ms */
  #endLookMs = Number.NEGATIVE_INFINITY;
  #winners: { readonly version: number; readonly set: Winners } | undefined;

  constructor(record: SaleRecord) {
    this.#record = record;
    this.#views = { selling: viewOf(record, false), soldOut: viewOf(record, true) };
  }

  get record(): SaleRecord {
    return this.#record;
  }

  /** The key as a purchase has it: where the limit is 1, a buyer has one purchase, whatever they call it. */
  keyOf(key: string): string {
    return this.#record.limitPerBuyer === 1 ? "" : key;
  }

  /** Postgres answers for it, no Redis (DESIGN 7.6). */
  get isArchived(): boolean {
    return this.#record.state === SaleState.archived;
  }

  /** Where this buyer's purchases of the sale are decided. */
  shardOf(uid: string): number {
    return homeShard(this.#record.id, uid, this.#record.shards);
  }

  get winners(): Winners | undefined {
    return this.#winners?.set;
  }

  define(record: SaleRecord): void {
    if (record.opensAtMs !== this.#record.opensAtMs) this.hasOpened = false;
    this.#endLookMs = Number.NEGATIVE_INFINITY;
    this.#record = record;
    this.#views = { selling: viewOf(record, false), soldOut: viewOf(record, true) };
  }

  view(nowMs: number): SaleView {
    return this.isFlagged(nowMs) ? this.#views.soldOut : this.#views.selling;
  }

  /** @param askedAtMs when the flag was asked for, not when the answer came: the lease counts from there (P5) */
  flag(version: number, askedAtMs: number): void {
    this.#flag = { version, untilMs: askedAtMs + SOLD_OUT_LEASE_MS };
  }

  /** The flag was withdrawn: a unit comes back, and its buyer will be a winner too. */
  unflag(): void {
    this.#flag = undefined;
    this.#winners = undefined;
  }

  /** Winners as they were read after `version` was heard of; of no use for another version. */
  loaded(version: number, set: Winners): void {
    this.#winners = { version, set };
  }

  /** @returns the version of a live flag whose winners are not known yet */
  wanted(nowMs: number): number | undefined {
    const flag = this.#flag;
    return flag !== undefined && nowMs < flag.untilMs && this.#winners?.version !== flag.version ? flag.version : undefined;
  }

  /**
   * P5: true only if the sale is sold out for certain and this buyer holds nothing of it. Without a live flag, or before
   * the winners of that very version are known, nobody is answered so without Redis.
   * @param text holds the uid from `from` to before `to`
   */
  isLost(nowMs: number, text: string, from = 0, to = text.length): boolean {
    if (!this.isFlagged(nowMs)) return false;
    const winners = this.#winners;
    return winners !== undefined && winners.version === this.#flag?.version && !winners.set.has(text, from, to);
  }

  /**
   * The sale has ended: it was closed, or its window is over even if this gateway's clock is ahead by WINDOW_SLACK_MS.
   * @param nowMs monotonic
   */
  isOver(nowMs: number, wallClock: { nowMs(): number }): boolean {
    if (nowMs >= this.#endLookMs) {
      const { state, closesAtMs } = this.#record;
      this.#endLookMs = nowMs + END_LOOK_MS;
      this.#isOver = state === SaleState.closed || wallClock.nowMs() >= closesAtMs + WINDOW_SLACK_MS;
    }
    return this.#isOver;
  }

  /** The sale is sold out, all shards together, and that may be believed now (DESIGN 7.4). */
  isFlagged(nowMs: number): boolean {
    return this.#flag !== undefined && nowMs < this.#flag.untilMs;
  }
}
