import type { NatsConnection } from "nats";
import { askValue } from "#program/requests/ask";
import { askStreamed } from "#program/requests/ask-streamed";
import { requests } from "#protocol/requests/contract";
import type { Restored, Rows } from "../shard-ports.ts";

/** The shard's row, through the workers. */
export const createRows = (connection: NatsConnection, shard: number): Rows => ({
  row: () => askValue(connection, requests.row, { shard }),

  rowAndArchived: async (saleIds) => {
    const { archived, ...row } = await askValue(connection, requests.row, { shard, sales: [...saleIds] });
    return { row, archived };
  },

  restore: async (request, stop, progress): Promise<Restored> => {
    const body = { shard, ...request };
    const end = await askStreamed(connection, requests.restore, body, { stop, progress, isLast: ({ done }) => done });
    return end.ok ? "done" : end.code;
  },
});
