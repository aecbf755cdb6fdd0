import type { Client } from "pg";
import type { Sql } from "../../workers/index.ts";

export interface GivenSale {
  readonly id: string;
  readonly totalUnits?: number;
  readonly opensAtMs?: number;
  readonly closesAtMs?: number;
  readonly limitPerBuyer?: number;
  readonly payWithinMs?: number;
  readonly version?: number;
  readonly returnsSeq?: number;
  readonly soldOutVersion?: number | null;
  readonly everSoldOut?: boolean;
  /** the shards it is dealt to; `quotaUnits` are taken in, `soldUnits` of these in orders */
  readonly shards?: readonly { readonly shard: number; readonly quotaUnits?: number; readonly soldUnits?: number }[];
}

const INSERT = `
  WITH sale AS (
    INSERT INTO sales (id, campaign, title, total_units, price_minor, currency, state,
      opens_at_ms, closes_at_ms, limit_per_buyer, pay_within_ms, version, returns_seq, sold_out_version, ever_sold_out)
    VALUES (?, 'test', 'Title', ?, 100, 'CNY', 'open', ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
  )
  INSERT INTO sale_shards (sale_id, shard, quota, sold)
  SELECT sale.id, dealt.* FROM sale, unnest(?::int[], ?::bigint[], ?::bigint[]) AS dealt (shard, quota, sold)`;

const bindingsOf = (sale: GivenSale): unknown[] => {
  const { shards = [] } = sale;
  return [
    sale.id,
    sale.totalUnits ?? 100,
    sale.opensAtMs ?? 0,
    sale.closesAtMs ?? 1,
    sale.limitPerBuyer ?? 1,
    sale.payWithinMs ?? 0,
    sale.version ?? 1,
    sale.returnsSeq ?? 0,
    sale.soldOutVersion ?? null,
    sale.everSoldOut ?? false,
    shards.map(({ shard }) => shard),
    shards.map(({ quotaUnits }) => quotaUnits ?? 0),
    shards.map(({ soldUnits }) => soldUnits ?? 0),
  ];
};

/**
 * Puts an open sale into Postgres as it would be at some moment of its life, by one statement and without the engine's code.
 * @param to the workers' connection, or a client of pg's
 */
export const givenSale = async (to: Sql | Client, sale: GivenSale): Promise<void> => {
  if (typeof to === "function") {
    await to(INSERT, bindingsOf(sale));
    return;
  }
  let binding = 0;
  await to.query(
    INSERT.replaceAll("?", () => `$${(binding += 1)}`),
    bindingsOf(sale),
  );
};
