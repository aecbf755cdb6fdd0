import type { NatsConnection } from "nats";
import { z } from "zod";
import {
  drainingShardsSchema,
  RequestError,
  soldOutFactsSchema,
  soldOutFlagsSchema,
  transferFactsSchema,
  type SoldOutFacts,
  type TransferFacts,
} from "../protocol/requests.ts";
import type { SoldOutFlag } from "../protocol/sale.ts";
import { Request } from "../protocol/subjects.ts";
import { readAnswer, Refused } from "./answer.ts";

/** A worker answers in a few ms; the row is wanted every second, so a slow answer is worth no more than a late one. */
const REQUEST_TIMEOUT_MS = 2_000;

/**
 * Asks one of the workers.
 * @throws Refused with the worker's code, or what NATS throws if nobody answers in time
 */
export const ask = async <T extends z.ZodType>(
  connection: NatsConnection,
  subject: Request,
  body: unknown,
  value: T,
): Promise<z.output<T>> => {
  const message = await connection.request(subject, JSON.stringify(body), { timeout: REQUEST_TIMEOUT_MS });
  const answer = readAnswer(subject, value, message.data);
  if (!answer.ok) throw new Refused(subject, answer.code, answer.detail);
  return answer.value;
};

/** What the sold-out decision asks of Postgres. */
export interface SaleFacts {
  flags(): Promise<readonly SoldOutFlag[]>;
  facts(saleId: string): Promise<SoldOutFacts>;
  /** @returns false if `returns_seq` has moved on since */
  setSoldOut(saleId: string, returnsSeq: number): Promise<boolean>;
}

export const createSaleFacts = (connection: NatsConnection): SaleFacts => ({
  flags: () => ask(connection, Request.soldOutFlags, {}, soldOutFlagsSchema),
  facts: (saleId) => ask(connection, Request.soldOutFacts, { saleId }, soldOutFactsSchema),
  setSoldOut: async (saleId, returnsSeq) => {
    try {
      await ask(connection, Request.soldOutSet, { saleId, returnsSeq }, z.unknown());
      return true;
    } catch (error) {
      if (error instanceof Refused && error.code === RequestError.overtaken) return false;
      throw error;
    }
  },
});

/** What moving units asks of Postgres. */
export interface UnitFacts {
  facts(saleId: string): Promise<TransferFacts>;
  draining(): Promise<readonly number[]>;
}

export const createUnitFacts = (connection: NatsConnection): UnitFacts => ({
  facts: (saleId) => ask(connection, Request.transferFacts, { saleId }, transferFactsSchema),
  draining: () => ask(connection, Request.drainingShards, {}, drainingShardsSchema),
});
