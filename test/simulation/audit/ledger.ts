import type { Entry } from "#lua/shard/entry";
import type { Outcome } from "../../../gateway/buy/outcome.ts";
import { FaultKind, type Options } from "../options.ts";
import type { Violation } from "../violation.ts";
import type { World } from "../world.ts";

/** What a buyer remembers of the answers about one purchase. */
export interface BuyerMemory {
  readonly saleId: string;
  readonly uid: string;
  readonly key: string;
  /** the order id of the last answer, and how it was answered */
  orderId: string | undefined;
  readonly reserved: Set<string>;
  readonly confirmed: Set<string>;
  /** ids that the buyer was told do not exist */
  readonly denied: Set<string>;
}

/** Where an order id says that its purchase was made: spelled here once more, apart from the engine's own code. */
/**
 * How old what a gateway tells of an order's state may be: it believes an answer for a second from when it asked, which may take
 * two (gateway/buy/order-states.ts), and as long as it was paused.
 */
const staleMs = ({ faults }: Options): number => faults.reduce((sum, { kind, ms }) => (kind === FaultKind.pause ? sum + ms : sum), 3_000);

const placeOf = (orderId: string): { shard: number; epoch: number; seq: number; index: number } => {
  const [shard = 0, epoch = 0, seq = 0, index = 0] = orderId.split("-").map((digits) => Number.parseInt(digits, 36));
  return { shard, epoch, seq, index };
};

/**
 * The memory of everything that buyers were told and that was ever appended, and what is checked while a schedule runs.
 * Shares no code with the engine: it looks into the stores by itself.
 */
export class Ledger {
  readonly violations: Violation[] = [];
  readonly memories = new Map<string, BuyerMemory>();
  /** sales of which somebody heard that they are sold out */
  readonly heardSoldOut = new Set<string>();
  readonly #world: World;
  readonly #appended = new Map<string, string>();
  #ordersSeen = 0;

  constructor(world: World) {
    this.#world = world;
  }

  violate(kind: string, detail: string): void {
    this.#world.say(() => `VIOLATION ${kind} ${detail}`);
    this.violations.push({ kind, detail, atMs: this.#world.kernel.nowMs });
  }

  of(saleId: string, uid: string, key: string): BuyerMemory {
    const name = `${saleId} ${uid} ${key}`;
    let memory = this.memories.get(name);
    if (memory === undefined) {
      memory = { saleId, uid, key, orderId: undefined, reserved: new Set(), confirmed: new Set(), denied: new Set() };
      this.memories.set(name, memory);
    }
    return memory;
  }

  /** No two entries may have the same position, on whatever server. */
  appended(shard: number, epoch: number, entry: Entry): void {
    const position = `${shard} ${epoch} ${entry.seq}`;
    const what = entry.kind === "o" ? entry.purchases : entry.kind === "g" ? entry.grantId : `${entry.units} to ${entry.receiver}`;
    const content = `${entry.kind} ${entry.saleId} ${what}`;
    const before = this.#appended.get(position);
    if (before !== undefined && before !== content) this.violate("TWO_WRITERS", `${position}: ${before} / ${content}`);
    this.#appended.set(position, content);
  }

  /** Looks at what a commit has brought. */
  committed(): void {
    const { postgres } = this.#world;
    this.#countUnits();
    this.#lookAtArchived();
    if (postgres.orders.length === this.#ordersSeen) return;
    for (; this.#ordersSeen < postgres.orders.length; this.#ordersSeen += 1) {
      const order = postgres.orders[this.#ordersSeen];
      if (order?.state === "rejected") this.violate("CONSTRAINT_VIOLATED", `${order.uid} ${order.epoch}-${order.seq}: ${order.reason}`);
    }
    for (const [saleId, sale] of postgres.sales) {
      let units = 0;
      const buyers = new Set<string>();
      for (const order of postgres.orders) {
        if (order.saleId !== saleId || order.state === "rejected") continue;
        if (order.state !== "refunded") units += order.units;
        const buyer = `${order.uid}:${order.key}`;
        if (buyers.has(buyer)) this.violate("P3_TWO_ORDERS", `${saleId} ${buyer}`);
        buyers.add(buyer);
      }
      if (units > sale.totalUnits) this.violate("P2_OVERSELL", `${saleId}: ${units} of ${sale.totalUnits}`);
    }
    for (const { saleId, shard, sold, quota } of postgres.saleShards)
      if (sold > quota) this.violate("P2_SHARD", `${saleId} on ${shard}: ${sold} of ${quota}`);
  }

  /**
   * A buyer hears an answer.
   * @param heldBefore the order id that the buyer knew when it asked: an answer about an earlier moment may overtake
   */
  hear(memory: BuyerMemory, outcome: Outcome, heldBefore: string | undefined): void {
    const { code, orderId, order } = outcome;
    if (order !== undefined && !this.#hadLately(orderId ?? "", order.state))
      this.violate("L_WRONG_ORDER", `${memory.uid} ${orderId}: ${order.state}`);
    if (code === "sold_out") this.heardSoldOut.add(memory.saleId);
    // every sale is in Postgres from the beginning
    if (code === "sale_unknown") this.violate("P3_SALE_UNKNOWN", `${memory.uid} of ${memory.saleId}`);
    if ((code === "reserved" || code === "confirmed") && orderId !== undefined) this.#hearOrder(memory, orderId, code);
    else if (code === "rejected" && orderId !== undefined && memory.confirmed.has(orderId))
      this.violate("P1_CONFIRMED_THEN_REJECTED", `${memory.uid} ${orderId}`);
    else if ((code === "none" || code === "sold_out" || code === "closed") && heldBefore !== undefined)
      this.#hearDenial(memory, heldBefore, code);
  }

  /** A gateway says `sold_out` without asking Redis: no open shard may have a unit of the sale (P5). */
  believedSoldOut(saleId: string): void {
    for (const { current, shard } of this.#world.nodes) {
      const { open, epoch, sales } = current.data;
      const isOpen = current.isUp && open !== undefined && open.epoch === epoch && open.untilMs > current.nowMs();
      const left = sales.get(saleId)?.left ?? 0;
      if (isOpen && open.replicationId === current.replicationId && left > 0)
        this.violate("P5_FALSE_SOLD_OUT", `${saleId}: ${left} on shard ${shard}`);
    }
  }

  /** In Postgres every unit is in one place at each instant: in a shard's quota, or on its way to one (P4). */
  #countUnits(): void {
    const { sales, saleShards, grants } = this.#world.postgres;
    for (const [saleId, { totalUnits }] of sales) {
      let units = 0;
      for (const row of saleShards) if (row.saleId === saleId) units += row.quota;
      for (const grant of grants.values())
        if (grant.saleId === saleId && grant.state === "sent" && grant.kind !== "returned") units += grant.units;
      if (units !== totalUnits) this.violate("P4_PAPER", `${saleId}: ${units} in quotas and grants, of ${totalUnits}`);
    }
  }

  /** An archived sale is over: nothing of it is undecided, and nothing on its way (DESIGN 7.6). */
  #lookAtArchived(): void {
    const { sales, orders, grants } = this.#world.postgres;
    for (const [saleId, { archived }] of sales) {
      if (!archived) continue;
      const order = orders.find((one) => one.saleId === saleId && one.state === "pending_payment");
      if (order !== undefined) this.violate("ARCHIVED_PENDING", `${saleId}: ${order.uid} ${order.epoch}-${order.seq}`);
      for (const grant of grants.values())
        if (grant.saleId === saleId && grant.state === "sent") this.violate("ARCHIVED_SENT", `${saleId}: ${grant.id}`);
    }
  }

  /** The order that Postgres holds under this id. */
  order(orderId: string) {
    const { shard, epoch, seq, index } = placeOf(orderId);
    return this.#world.postgres.orders.find(
      (order) => order.shard === shard && order.epoch === epoch && order.seq === seq && order.index === index,
    );
  }

  #hadLately(orderId: string, state: string): boolean {
    const order = this.order(orderId);
    if (order === undefined || order.state === state) return order !== undefined;
    const since = this.#world.postgres.nowMs - staleMs(this.#world.options);
    return order.past.some((past) => past.state === state && past.untilMs >= since);
  }

  #isLossy(orderId: string): boolean {
    return this.#world.lossy.has(placeOf(orderId).shard);
  }

  #hearOrder(memory: BuyerMemory, orderId: string, code: "reserved" | "confirmed"): void {
    const before = memory.orderId;
    if (before !== undefined && before !== orderId) {
      const order = this.order(before);
      if (order !== undefined && order.state !== "rejected") this.violate("P3_TWO_IDS_COMMITTED", `${memory.uid}: ${before}, ${orderId}`);
      else if (!this.#isLossy(before)) this.violate("P3_TWO_IDS", `${memory.uid}: ${before}, ${orderId}`);
    }
    memory.orderId = orderId;
    if (code === "reserved") {
      memory.reserved.add(orderId);
      return;
    }
    const order = this.order(orderId);
    if (order === undefined || order.state === "rejected" || order.uid !== memory.uid)
      this.violate("P1_FALSE_CONFIRMED", `${memory.uid} ${orderId}`);
    memory.confirmed.add(orderId);
  }

  /** `none`, `sold_out` or `closed` to a buyer who knew an order id when asking. */
  #hearDenial(memory: BuyerMemory, held: string, code: "none" | "sold_out" | "closed"): void {
    const order = this.order(held);
    if (order !== undefined && order.state !== "rejected") this.violate(`P3_${code.toUpperCase()}_TO_HOLDER`, `${memory.uid} ${held}`);
    else if (!this.#isLossy(held)) this.violate(`P1_${code.toUpperCase()}_WITHOUT_LOSS`, `${memory.uid} ${held}`);
    memory.denied.add(held);
  }
}
