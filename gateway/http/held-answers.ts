import { OutcomeCode, type Outcome } from "../buy/outcome.ts";
import type { BuyService } from "../buy/service.ts";
import type { Exchange } from "./exchange.ts";

/** The longest wait that anybody gets; proxies in front give up at 60 s. */
const MAX_WAIT_SECONDS = 30;
/** More are answered at once: a held answer costs a timer and a connection. */
const MAX_HELD = 20_000;

/** @returns seconds of `Prefer: wait=N` (RFC 7240), 0 without one, at most MAX_WAIT_SECONDS */
export const preferredWait = (prefer: string): number => {
  if (prefer === "") return 0;
  const match = /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=$|[,;])/i.exec(prefer);
  return match === null ? 0 : Math.min(Number(match[1]), MAX_WAIT_SECONDS);
};

const SECONDS = /^\d{1,9}$/;

/**
 * `?wait=N`, which a page can ask for without a preflight, wins over `Prefer: wait=N`: that is a preference, which may be
 * passed over (RFC 7240), and this a part of the address.
 * @returns seconds, at most MAX_WAIT_SECONDS; undefined if `wait` is not a whole number of seconds
 */
export const askedWait = (wait: string, prefer: string): number | undefined => {
  if (wait === "") return preferredWait(prefer);
  return SECONDS.test(wait) ? Math.min(Number(wait), MAX_WAIT_SECONDS) : undefined;
};

/** Purchases that are reserved and whose answer waits until they are final. */
export class HeldAnswers {
  readonly #service: BuyService;
  readonly #release = new Set<() => void>();
  #closed = false;

  constructor(service: BuyService) {
    this.#service = service;
  }

  /**
   * Calls `answer` when the order is final; with `reserved` itself after `seconds` or when there is no room to wait.
   * Whatever else a wait may end with (`not_survived`: it was lost in a fail-over) is the answer as it is.
   */
  hold(exchange: Exchange, key: string, reserved: Outcome, seconds: number, answer: (outcome: Outcome) => void): void {
    const orderId = reserved.orderId;
    if (this.#closed || orderId === undefined || this.#release.size >= MAX_HELD) {
      answer(reserved);
      return;
    }
    const giveUp = (): void => answer(reserved);
    const timer = setTimeout(giveUp, seconds * 1_000);
    let ended = false;
    let cancel: (() => void) | undefined;
    exchange.whenOver(() => {
      ended = true;
      clearTimeout(timer);
      cancel?.();
      this.#release.delete(giveUp);
    });
    this.#release.add(giveUp);
    cancel = this.#service.waitFinal(exchange.parameter, key, orderId, (outcome) => {
      answer(outcome.code === OutcomeCode.confirmed && reserved.repeat === true ? { ...outcome, repeat: true } : outcome);
    });
    if (ended) cancel();
  }

  /** Answers all of them now, and from now on holds none. */
  releaseAll(): void {
    this.#closed = true;
    for (const giveUp of this.#release) giveUp();
  }
}
