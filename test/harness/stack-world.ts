import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { Agent, request } from "undici";
import { allShardFactsSchema, listedSalesSchema, saleRecordSchema, type ListedSale, type SaleRecord, type ShardFacts } from "#protocol";
import { ticketKeys, signTicket, type TicketKeys } from "../../gateway/index.ts";
import {
  audit,
  compareHere,
  eachLiveOrder,
  openStores,
  type AuditReport,
  type AuditStores,
  type LiveOrder,
  type SaleReport,
} from "../../workers/index.ts";
import { until, type StackInfo } from "../../deploy/local/index.ts";
import { startStack, type Stack, type StackOptions } from "./stack.ts";

/** What a buyer was answered: the status and the body. */
export interface BuyAnswer {
  readonly status: number;
  readonly code: string;
  readonly orderId?: string;
  readonly units?: number;
  readonly detail?: string;
}

const ANSWER_WITHIN_MS = 5_000;
/** A buyer who was told to come later comes after so long. */
export const ASK_AGAIN_MS = 100;
const HOUR_MS = 3_600_000;

/** Not fetch: a time-out by AbortSignal can be collected with its request before it fires, and the buyer waits for ever. */
const connections = new Agent({ connect: { timeout: ANSWER_WITHIN_MS }, headersTimeout: ANSWER_WITHIN_MS, bodyTimeout: ANSWER_WITHIN_MS });

/** Codes that say "ask again": everything else is an answer. */
export const AGAIN: ReadonlySet<string> = new Set([
  "rate_limited",
  "recovering",
  "busy",
  "units_moving",
  "not_survived",
  "try_again",
  "away",
]);

/**
 * The whole: servers, gateway, coordinator and workers as compiled programs (`npm run build` first), the operator's requests,
 * and buyers who behave as people do: who hears nothing, or "later", asks again. Starts in some seconds on a busy machine, with some
 * ten processes; `close` ends all of them.
 */
export class StackWorld {
  readonly stack: Stack;
  readonly #keys: TicketKeys;
  readonly #info: StackInfo;
  #door: string;

  constructor(stack: Stack, info: StackInfo) {
    this.stack = stack;
    this.#info = info;
    this.#door = info.gateway;
    this.#keys = ticketKeys(
      info.ticketKeys.split(",").map((pair) => {
        const [id = "", secret = ""] = pair.split(":");
        return { id, secret };
      }),
    );
  }

  static async start(options: Partial<StackOptions> = {}): Promise<StackWorld> {
    const stack = await startStack(options);
    return new StackWorld(stack, await stack.info());
  }

  async admin(path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${this.#info.admin}${path}`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${this.#info.adminToken}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer: unknown = await response.json();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Opens a sale now; resolves when gateways show it. */
  async openSale(id: string, units: number, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const now = Date.now();
    await this.admin("/sales", { id, title: id, units, opensAtMs: now - 1_000, closesAtMs: now + HOUR_MS, payWithinMs: 0, ...more });
    await until(async () => (await fetch(`${this.#info.gateway}/sales/${id}`)).ok, `sale ${id} to be shown`, 30_000);
  }

  /** As `openSale`, and resolves when all units are on the shards: before, a buyer may be told to try again. */
  async openStocked(id: string, units: number, more: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.openSale(id, units, more);
    const free = async (): Promise<number | undefined> =>
      (await this.audit().catch(() => undefined))?.sales.find((sale) => sale.id === id)?.free;
    await until(async () => (await free()) === units, `the units of ${id} to be there`, 30_000);
  }

  async record(saleId: string): Promise<SaleRecord> {
    const response = await fetch(`${this.#info.admin}/sales/${saleId}`, { headers: { authorization: `Bearer ${this.#info.adminToken}` } });
    return saleRecordSchema.parse(await response.json());
  }

  /** The shards that hold the sale's units. */
  async shardsOf(saleId: string): Promise<readonly number[]> {
    return (await this.record(saleId)).shards;
  }

  /** Buyers come to the gateway by this address from now on: a proxy's. */
  comeBy(url: string): void {
    this.#door = url;
  }

  urlOf(saleId: string, uid: string, expiresAtMs = Date.now() + HOUR_MS): string {
    return `${this.#door}/buy/${signTicket(this.#keys, { saleId, uid, expiresAtMs })}`;
  }

  /** One request; `away` stands for silence (P6). */
  async once(method: "POST" | "GET", url: string, headers: Readonly<Record<string, string>> = {}, sent?: string): Promise<BuyAnswer> {
    try {
      const { statusCode, body } = await request(url, {
        method,
        headers,
        dispatcher: connections,
        ...(sent === undefined ? {} : { body: sent }),
      });
      const answer = (await body.json()) as Omit<BuyAnswer, "status">;
      return { status: statusCode, ...answer };
    } catch {
      return { status: 0, code: "away" };
    }
  }

  /** Buys, and asks again until there is an answer. */
  buy(saleId: string, uid: string, headers: Readonly<Record<string, string>> = {}, sent?: string): Promise<BuyAnswer> {
    return this.buyAt(this.urlOf(saleId, uid), headers, sent);
  }

  async buyAt(url: string, headers: Readonly<Record<string, string>> = {}, sent?: string): Promise<BuyAnswer> {
    for (;;) {
      const answer = await this.once("POST", url, headers, sent);
      if (!AGAIN.has(answer.code)) return answer;
      await delay(ASK_AGAIN_MS);
    }
  }

  /** This buyer's standing once it is final. */
  async final(saleId: string, uid: string): Promise<BuyAnswer> {
    const url = this.urlOf(saleId, uid);
    let answer: BuyAnswer = { status: 0, code: "away" };
    await until(
      async () => {
        answer = await this.once("GET", url);
        return answer.code === "confirmed" || answer.code === "none" || answer.code === "rejected";
      },
      `${uid} to be told a final answer of ${saleId}`,
      60_000,
    );
    return answer;
  }

  audit(): Promise<AuditReport> {
    return withStores(this.#info, audit);
  }

  /** What an operator is told of every sale that is not archived; fails while nobody answers. */
  async sales(): Promise<readonly ListedSale[]> {
    const response = await fetch(`${this.#info.admin}/sales`, { headers: { authorization: `Bearer ${this.#info.adminToken}` } });
    return listedSalesSchema.parse(await response.json());
  }

  /** What an operator is told of every shard; fails while nobody answers. */
  async shards(): Promise<readonly ShardFacts[]> {
    const response = await fetch(`${this.#info.admin}/shards`, { headers: { authorization: `Bearer ${this.#info.adminToken}` } });
    return allShardFactsSchema.parse(await response.json());
  }

  /** The live orders of a sale in Postgres. */
  async orders(saleId: string): Promise<readonly LiveOrder[]> {
    const found: LiveOrder[] = [];
    await withStores(this.#info, (stores) => eachLiveOrder(stores, [saleId], (order) => void found.push(order)));
    return found;
  }

  /** Waits until nothing of the sale is under way, then audits everything. */
  async auditAtRest(saleId: string): Promise<SaleReport> {
    let report: AuditReport | undefined;
    const sale = (): SaleReport | undefined => report?.sales.find(({ id }) => id === saleId);
    await until(
      async () => {
        report = await this.audit().catch(() => undefined);
        const found = sale();
        return found !== undefined && found.reserved === 0 && found.inFlight === 0;
      },
      `${saleId} to be at rest`,
      60_000,
    );
    if (report?.ok !== true) throw new Error(`the audit found: ${JSON.stringify(report?.differences)}`);
    return sale() as SaleReport;
  }

  close(): Promise<void> {
    return this.stack.stop();
  }
}

const withStores = async <T>(info: StackInfo, read: (stores: AuditStores) => Promise<T>): Promise<T> => {
  const addresses = {
    redisShards: info.redisShards.split(","),
    nats: { NATS_URL: info.nats.url, NATS_USER: info.nats.user ?? undefined, NATS_PASSWORD: info.nats.pass ?? undefined },
    databaseUrl: info.databaseUrl,
  };
  const stores = await openStores(addresses, compareHere, pino({ level: "silent" }));
  try {
    return await read(stores);
  } finally {
    await stores.close();
  }
};
