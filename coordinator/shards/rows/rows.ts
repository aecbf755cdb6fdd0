import { ErrorCode, type NatsConnection } from "nats";
import { askValue } from "#program/requests/ask";
import { askStreamed } from "#program/requests/ask-streamed";
import { requests } from "#protocol/requests/contract";
import type { Restored, Rows } from "../shard-ports.ts";

const isUnheard = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === ErrorCode.NoResponders;

/** The shard's row, through the workers. */
export const createRows = (connection: NatsConnection, shard: number): Rows => ({
  row: () => askValue(connection, requests.row, { shard }),

  rowAndArchived: async (saleIds) => {
    const asked = () => askValue(connection, requests.rowAndArchived, { shard, sales: [...saleIds] });
    try {
      return await asked();
    } catch (error) {
      if (!isUnheard(error)) throw error;
      // Perhaps only workers of the version before are there, which archive nothing. One of this version that has come meanwhile
      // hears all requests, or none.
      const row = await askValue(connection, requests.row, { shard });
      return asked().catch((again: unknown) => {
        if (!isUnheard(again)) throw again;
        return { row, archived: [] };
      });
    }
  },

  restore: async (request, stop, progress): Promise<Restored> => {
    const body = { shard, ...request };
    const end = await askStreamed(connection, requests.restore, body, { stop, progress, isLast: ({ done }) => done });
    return end.ok ? "done" : end.code;
  },
});
