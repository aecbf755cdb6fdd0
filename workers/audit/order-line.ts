/** Tab separated: sale, uid, purchase key, shard, epoch, seq, index, units, state. Ids have no tabs (ids.ts). */
export const ORDER_LINE =
  "concat_ws(E'\\t', sale_id, uid, purchase_key, shard::text, epoch::text, seq::text, idx::text, units::text, state) AS line";

/** An order as its line tells it. */
export interface OrderLine {
  readonly saleId: string;
  readonly uid: string;
  readonly key: string;
  readonly shard: number;
  readonly epoch: number;
  readonly seq: number;
  readonly index: number;
  readonly units: number;
  readonly state: string;
}

export const parseOrderLine = (line: string): OrderLine => {
  const [saleId = "", uid = "", key = "", shard, epoch, seq, index, units, state = ""] = line.split("\t");
  return {
    saleId,
    uid,
    key,
    shard: Number(shard),
    epoch: Number(epoch),
    seq: Number(seq),
    index: Number(index),
    units: Number(units),
    state,
  };
};

/** Orders in other states hold no units: theirs came back or were never given. All but the rejected bind their buyer. */
export const LIVE_STATES: ReadonlySet<string> = new Set(["pending_payment", "paid"]);
export const REJECTED = "rejected";
