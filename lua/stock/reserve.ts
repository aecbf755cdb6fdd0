import { Decision, Status } from "../core/codes.ts";
import { parseReservation, type Reservation } from "./fields.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
import { parsePosition, type Position } from "../core/position.ts";
import { asRefused, type Refused } from "../core/refusal.ts";
import { loadScript, onReplica, type ScriptRedis } from "../core/script.ts";

export const reserveScript = loadScript("reserve", import.meta.url);

/** Most purchases a batch may have (DESIGN 4.2). */
export const MOST_PURCHASES = 512;

export interface ReserveBatch {
  readonly shard: number;
  readonly saleId: string;
  /** entries the outbox may hold; at this bound first purchases are `busy` */
  readonly outboxLimit: number;
  /** packed (fields.ts), 1 to 512, decided in this order */
  readonly purchases: readonly string[];
}

export interface ReserveAnswer {
  readonly decision: Decision;
  /** with won, reserved, confirmed and rejected */
  readonly reservation?: Reservation;
}

export type Reserved =
  | {
      readonly status: typeof Status.ok;
      /** of the entry that holds this batch's winners; undefined if nobody won */
      readonly position: Position | undefined;
      /** units left on this shard after the batch */
      readonly left: number;
      /** in the order of the purchases */
      readonly decisions: readonly ReserveAnswer[];
      /** when the sale opens; there if any decision is `notOpen` */
      readonly opensAtMs?: number;
    }
  /** the whole batch, repeats too */
  | { readonly status: typeof Status.recovering | typeof Status.unknown }
  | Refused;

/** One shared object for each decision that carries no reservation: refusals allocate nothing. */
const BARE = new Map<string, ReserveAnswer>(Object.values(Decision).map((decision) => [decision, { decision }]));

const bare = (code: string): ReserveAnswer => {
  const answer = BARE.get(code);
  if (answer === undefined) throw new Error(`reserve: no such decision ${code}`);
  return answer;
};

const unitsOf = (packed: string): number => {
  const at = packed.lastIndexOf(":");
  return at === -1 ? 1 : Number(packed.slice(at + 1));
};

type Reply = [id: string, left: number, decisions: string, opensAtMs: number, ...reservations: string[]];

const readReply = (purchases: readonly string[], reply: Reply): Reserved => {
  const [id, left, codes, opensAtMs] = reply;
  const position = id === "" ? undefined : parsePosition(id);
  let index = 0;
  let repeat = 4;
  let notOpen = false;
  const decisions = purchases.map((packed, i): ReserveAnswer => {
    const decision = codes[i] as Decision;
    if (decision === Decision.won) {
      if (position === undefined) throw new Error(`reserve: a win at ${id}`);
      const { epoch, seq } = position;
      return { decision, reservation: { rejected: false, epoch, seq, index: index++, units: unitsOf(packed) } };
    }
    if (decision === Decision.reserved || decision === Decision.confirmed || decision === Decision.rejected) {
      const text = reply[repeat++] as string;
      const reservation = parseReservation(text);
      if (reservation === undefined) throw new Error(`reserve: ${text} is not a reservation`);
      return { decision, reservation };
    }
    notOpen ||= decision === Decision.notOpen;
    return bare(decision);
  });
  return { status: Status.ok, position, left, decisions, ...(notOpen ? { opensAtMs } : {}) };
};

/**
 * Decides a batch (DESIGN 4.3). If this throws, whether the batch was decided is unknown: ask with `standing`, or
 * repeat the purchases, which is always safe. A refusal by the server is no such error: nothing was decided.
 */
export const reserve = async (redis: ScriptRedis, { shard, saleId, outboxLimit, purchases }: ReserveBatch): Promise<Reserved> => {
  const keys = shardKeys(shard);
  const sale = saleKeys(shard, saleId);
  const reply = await reserveScript
    .run(
      redis,
      [keys.open, keys.epoch, keys.applied, keys.outbox, sale.sale, sale.buyers],
      [saleId, outboxLimit, purchases.length, purchases.join(" ")],
    )
    .catch(onReplica(Status.recovering))
    .catch(asRefused);
  if (Array.isArray(reply)) return readReply(purchases, reply as Reply);
  return typeof reply === "string" ? { status: reply as typeof Status.recovering | typeof Status.unknown } : (reply as Refused);
};
