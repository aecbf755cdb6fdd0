import type { NatsConnection } from "nats";
import { ask, askValue } from "#program/requests/ask";
import { requests } from "#protocol/requests/contract";
import { Refused, RequestError } from "#protocol/requests/reply";
import type { SoldOutFacts, TransferFacts } from "#protocol/requests/sale-facts";
import type { SoldOutFlag } from "#protocol/sale";

/** What the sold-out decision asks of Postgres. */
export interface SaleFacts {
  flags(): Promise<readonly SoldOutFlag[]>;
  facts(saleId: string): Promise<SoldOutFacts>;
  /** @returns false if `returns_seq` has moved on since */
  setSoldOut(saleId: string, returnsSeq: number): Promise<boolean>;
}

export const createSaleFacts = (connection: NatsConnection): SaleFacts => ({
  flags: () => askValue(connection, requests.soldOutFlags, {}),
  facts: (saleId) => askValue(connection, requests.soldOutFacts, { saleId }),
  setSoldOut: async (saleId, returnsSeq) => {
    const reply = await ask(connection, requests.soldOutSet, { saleId, returnsSeq });
    if (!reply.ok && reply.code !== RequestError.overtaken) throw new Refused(requests.soldOutSet.subject, reply.code, reply.detail);
    return reply.ok;
  },
});

/** What moving units asks of Postgres. */
export interface UnitFacts {
  facts(saleId: string): Promise<TransferFacts>;
  draining(): Promise<readonly number[]>;
}

export const createUnitFacts = (connection: NatsConnection): UnitFacts => ({
  facts: (saleId) => askValue(connection, requests.transferFacts, { saleId }),
  draining: () => askValue(connection, requests.drainingShards, {}),
});
