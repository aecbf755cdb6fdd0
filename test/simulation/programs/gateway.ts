import { composeBuyService } from "../../../gateway/buy/compose.ts";
import type { OnOutcome } from "../../../gateway/buy/outcome.ts";
import type { BuyPolicy } from "../../../gateway/buy/policy.ts";
import type { PurchaseKey } from "../../../gateway/buy/service-ports.ts";
import { POLL_MS } from "../../../gateway/sales/sold-out.ts";
import type { Program } from "../kernel/process.ts";
import type { World } from "../world.ts";
import { buyPortsOf, REQUEST_MS } from "./buy-ports.ts";

const TIMEOUT_MS = 1_500;
const TICK_MS = 150;
/** A time-out is noticed by the tick that follows it. */
const ANSWERED_MS = TIMEOUT_MS + TICK_MS * 2;
/** Whose purchase is known waits for the workers, too, to hear of its order: twice, where it was asked about already. */
const WITH_ORDER_MS = ANSWERED_MS + 2 * REQUEST_MS;
const NO_LIMIT = { rate: 0, burst: 1 };
const POLICY: BuyPolicy = {
  limits: { buyer: NO_LIMIT, address: NO_LIMIT, sale: NO_LIMIT, slots: 8 },
  reads: { buyer: NO_LIMIT, address: NO_LIMIT, ceiling: NO_LIMIT, slots: 8 },
  queueLimit: 100,
  decisionTimeoutMs: TIMEOUT_MS,
  tickMs: TICK_MS,
  soldOutPollMs: POLL_MS,
  winnersLoadMs: 250,
  winnerSlots: 1 << 12,
  mostWaiting: 1_000,
};

/** What a buyer can do at one gateway. */
export interface Counter {
  buy(request: { saleId: string; uid: string; key: string; units: number; waits?: boolean }, onOutcome: OnOutcome): void;
  standing(saleId: string, purchase: PurchaseKey, onOutcome: OnOutcome): void;
  wait(saleId: string, purchase: PurchaseKey, orderId: string, onFinal: OnOutcome): void;
  watch(saleId: string, uid: string, onPush: OnOutcome): void;
  isReady(): boolean;
  /** whoever holds nothing of this sale is told at once that it is sold out */
  refuses(saleId: string): boolean;
}

/** The gateway that ships, over the simulated stores. */
export const gatewayProgram = (world: World, name: string): Program => ({
  name,
  start: (life) => {
    const { twins, news } = world;
    const real = buyPortsOf(world, life, TIMEOUT_MS * 3);
    const ports = { ...real, soldOut: twins.soldOutStore?.(real.soldOut) ?? real.soldOut };
    const service = (twins.composeBuyService ?? composeBuyService)(ports, POLICY);
    const ticketOf = (saleId: string, uid: string): string => `${saleId} ${uid}`;
    /** Every answer comes in time, but for who has to search for the sale, or waits for units, or was stopped. */
    const inTime = (saleId: string, isShort: boolean, onOutcome: OnOutcome, withinMs = ANSWERED_MS): OnOutcome => {
      if (!isShort || service.saleView(saleId) === undefined) return onOutcome;
      const { kernel, process } = life;
      const askedAtMs = kernel.nowMs;
      return (outcome) => {
        const tookMs = kernel.nowMs - askedAtMs;
        if (tookMs > withinMs && process.pausedUntilMs < askedAtMs)
          world.ledger.violate("L_LATE_ANSWER", `${outcome.code} after ${Math.round(tookMs)} ms at ${name}`);
        onOutcome(outcome);
      };
    };
    const isOnOneShard = (saleId: string): boolean => service.saleView(saleId)?.record.shards.length === 1;
    world.counters.set(life.process, {
      buy: ({ saleId, uid, key, units, waits = false }, onOutcome) => {
        const isHere = waits ? news.willWait(life, saleId, uid) : () => undefined;
        const onReserved: OnOutcome = (outcome) => {
          isHere();
          if (outcome.code === "reserved" && outcome.orderId !== undefined) news.reserved(life, saleId, uid, outcome.orderId);
          onOutcome(outcome);
        };
        service.buy({ ticket: ticketOf(saleId, uid), address: "", units, key, waits }, inTime(saleId, isOnOneShard(saleId), onReserved));
      },
      standing: (saleId, { uid, key }, onOutcome) =>
        service.standing({ ticket: ticketOf(saleId, uid), address: "", key }, inTime(saleId, true, onOutcome, WITH_ORDER_MS)),
      wait: (saleId, { uid, key }, orderId, onFinal) => {
        const isOver = news.waits(life, uid, orderId);
        service.waitFinal(ticketOf(saleId, uid), key, orderId, (outcome) => {
          isOver();
          onFinal(outcome);
        });
      },
      watch: (saleId, uid, onPush) => {
        const watch = news.watches(life, saleId, uid);
        service.watchBuyer(saleId, uid, (outcome) => {
          news.pushed(watch, outcome);
          onPush(outcome);
        });
      },
      isReady: () => service.isReady(),
      refuses: (saleId) => service.refusal(ticketOf(saleId, "nobody"))?.code === "sold_out",
    });
  },
});
