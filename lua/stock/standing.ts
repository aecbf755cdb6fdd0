import { Decision, Status } from "../core/codes.ts";
import { parseReservation, type Reservation } from "./fields.ts";
import { saleKeys, shardKeys } from "../core/keys.ts";
import { asRefused, type Refused } from "../core/refusal.ts";
import { loadScript, type ScriptRedis } from "../core/script.ts";

export const standingScript = loadScript("standing", import.meta.url);

export interface StandingQuery {
  readonly shard: number;
  readonly saleId: string;
  /** 1 to 512; the key is not looked at where the sale's limit is 1 */
  readonly purchases: readonly { readonly uid: string; readonly key: string }[];
}

export type PurchaseStanding =
  | { readonly state: "none" }
  | { readonly state: "reserved" | "confirmed" | "rejected"; readonly reservation: Reservation };

export type Standings =
  | { readonly status: typeof Status.ok; readonly standings: readonly PurchaseStanding[] }
  | { readonly status: typeof Status.recovering | typeof Status.unknown }
  | Refused;

const STATES = { [Decision.reserved]: "reserved", [Decision.confirmed]: "confirmed", [Decision.rejected]: "rejected" } as const;
const NONE: PurchaseStanding = { state: "none" };

/** What the shard knows of these purchases, in the same order (DESIGN 4.8). */
export const standing = async (redis: ScriptRedis, { shard, saleId, purchases }: StandingQuery): Promise<Standings> => {
  const keys = shardKeys(shard);
  const sale = saleKeys(shard, saleId);
  const reply = await standingScript
    .run(
      redis,
      [keys.open, keys.epoch, keys.applied, sale.sale, sale.buyers],
      purchases.flatMap(({ uid, key }) => [uid, key]),
    )
    .catch(asRefused);
  if (typeof reply === "string") return { status: reply as typeof Status.recovering | typeof Status.unknown };
  if (!Array.isArray(reply)) return reply as Refused;
  const [states, ...reservations] = reply as string[];
  let next = 0;
  const standings = Array.from(states ?? "", (code): PurchaseStanding => {
    const state = STATES[code as keyof typeof STATES];
    if (state === undefined) return NONE;
    const text = reservations[next++] ?? "";
    const reservation = parseReservation(text);
    if (reservation === undefined) throw new Error(`standing: ${text} is not a reservation`);
    return { state, reservation };
  });
  return { status: Status.ok, standings };
};
