import { setTimeout as delay } from "node:timers/promises";
import type { Msg, NatsConnection } from "nats";
import { z } from "zod";
import {
  drainingShardsSchema,
  RequestError,
  soldOutFactsSchema,
  soldOutFlagsSchema,
  transferFactsSchema,
  type SoldOutFacts,
  type TransferFacts,
} from "#protocol/requests";
import type { SoldOutFlag } from "#protocol/sale";
import { Request } from "#protocol/subjects";
import { readAnswer, Refused } from "./answer.ts";

/** A worker answers in a few ms; the row is wanted every second, so a slow answer is worth no more than a late one. */
const REQUEST_TIMEOUT_MS = 2_000;
/**
 * Who does not answer in this time may be a process that stands still: the broker goes on dealing requests to it. Asked
 * again, beside the first, so that a Postgres that is slow is no worse off; all that is asked here may be asked twice.
 */
const AGAIN_MS = 400;

/** The first answer, or the first failure. */
const firstAnswer = async (connection: NatsConnection, subject: Request, body: string): Promise<Msg> => {
  const over = new AbortController();
  const asked = async (afterMs: number): Promise<Msg> => {
    if (afterMs > 0) await delay(afterMs, undefined, { signal: over.signal });
    return connection.request(subject, body, { timeout: REQUEST_TIMEOUT_MS - afterMs });
  };
  const tries: Promise<Msg>[] = [];
  for (let afterMs = 0; afterMs < REQUEST_TIMEOUT_MS; afterMs += AGAIN_MS) tries.push(asked(afterMs));
  try {
    return await Promise.race(tries);
  } finally {
    over.abort();
  }
};

/**
 * Asks one of the workers, and after a moment another.
 * @throws Refused with the worker's code, or what NATS throws if nobody answers in time
 */
export const ask = async <T extends z.ZodType>(
  connection: NatsConnection,
  subject: Request,
  body: unknown,
  value: T,
): Promise<z.output<T>> => {
  const message = await firstAnswer(connection, subject, JSON.stringify(body));
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
