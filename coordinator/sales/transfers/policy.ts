/** What is known of one shard of a sale when moves are planned. */
export interface ShardView {
  readonly shard: number;
  /** false if its Redis is away, not open in its epoch, or has not heard of the sale: it neither gives nor gets */
  readonly isOpen: boolean;
  /** units not reserved */
  readonly left: number;
  /** units sold here since the opening: buyers belong to a shard for good, so this is how fast it sells */
  readonly sold: number;
  /** units sold a second of late; undefined if not known yet */
  readonly perSecond: number | undefined;
  /** units on their way to it */
  readonly inbound: number;
  /** units that a buyer asked for here and did not get of late; 0 = nobody did */
  readonly wanted: number;
  /** it gives all it has and gets nothing */
  readonly isDraining: boolean;
  /** units came a short while ago and wait for the buyers who were asked to come again */
  readonly isHeld: boolean;
  /** its last stock move is not yet in Postgres: one at a time */
  readonly isMoving: boolean;
}

export const MoveReason = { dry: "dry", drain: "drain" } as const;
type MoveReason = (typeof MoveReason)[keyof typeof MoveReason];

export interface Move {
  readonly from: number;
  readonly to: number;
  readonly units: number;
  readonly reason: MoveReason;
}

/** A shard that sold nothing still keeps this share of what the fastest is given: its buyers may come. */
const LEAST_SHARE = 0.05;
/** A shard that will be sold out by its own buyers sooner than a transfer takes gives nothing: moving would only cost. */
const SELLS_OUT_MS = 250;
/** A drained shard's units are not split into parts smaller than this. */
const DRAINED_PART = 100;
/** What is already served is not topped up by moves smaller than this fraction of the need. */
const SMALL_MOVE = 10;
const SECOND_MS = 1_000;

interface Pile {
  readonly view: ShardView;
  left: number;
  inbound: number;
  hasGiven: boolean;
}

const willSellOut = ({ left, perSecond }: ShardView): boolean => perSecond !== undefined && left * SECOND_MS < perSecond * SELLS_OUT_MS;

const canGive = ({ view, left, hasGiven }: Pile): boolean => view.isOpen && !view.isMoving && !hasGiven && left > 0;

/** What each shard should hold of all units that are left: in proportion to how fast it sells. */
const targetsOf = (piles: readonly Pile[]): Map<Pile, number> => {
  const taking = piles.filter(({ view }) => view.isOpen && !view.isDraining);
  const units = piles.reduce((sum, { view, left, inbound }) => sum + (view.isOpen ? left : 0) + inbound, 0);
  const most = Math.max(1, ...taking.map(({ view }) => view.sold));
  const weights = taking.map(({ view }) => Math.max(view.sold, most * LEAST_SHARE));
  const all = weights.reduce((sum, weight) => sum + weight, 0);
  return new Map(taking.map((pile, index) => [pile, (units * (weights[index] as number)) / all]));
};

const take = (from: Pile, to: Pile, units: number, reason: MoveReason): Move => {
  from.left -= units;
  from.hasGiven = true;
  to.inbound += units;
  return { from: from.view.shard, to: to.view.shard, units, reason };
};

/**
 * Brings units to a shard where somebody asks and there are too few: up to the share that its speed deserves, from those
 * that have most above theirs, so that it need not ask again soon; and at least what is asked for, if all others together
 * have that, from wherever it is.
 */
const feed = (receiver: Pile, piles: readonly Pile[]): Move[] => {
  const { wanted } = receiver.view;
  const here = receiver.left + receiver.inbound;
  const donors = piles.filter(
    (pile) => pile !== receiver && canGive(pile) && (pile.view.isDraining || (!pile.view.isHeld && !willSellOut(pile.view))),
  );
  const there = donors.reduce((sum, { left }) => sum + left, 0);
  if (here >= wanted || here + there < wanted) return [];
  const targets = targetsOf(piles);
  const surplus = new Map(donors.map((pile) => [pile, pile.left - (targets.get(pile) ?? 0)]));
  const fairly = Math.floor(targets.get(receiver) ?? 0);
  const need = Math.max(wanted, fairly) - here;
  let must = wanted - here;
  let rest = need;
  const moves: Move[] = [];
  for (const donor of donors.toSorted((a, b) => (surplus.get(b) as number) - (surplus.get(a) as number))) {
    const units = Math.min(donor.left, Math.max(Math.min(rest, Math.floor(surplus.get(donor) as number)), Math.min(must, donor.left)));
    if (units <= 0 || (must <= 0 && units * SMALL_MOVE < need)) continue;
    moves.push(take(donor, receiver, units, MoveReason.dry));
    rest -= units;
    must -= units;
    if (rest <= 0) break;
  }
  return moves;
};

/** One part of what a draining shard has goes to the shard that has least for its speed; the next look sends the next. */
const drain = (donor: Pile, piles: readonly Pile[]): Move[] => {
  const takers = piles.filter(({ view }) => view.isOpen && !view.isDraining);
  if (!canGive(donor) || takers.length === 0) return [];
  const targets = targetsOf(piles);
  const lacking = (pile: Pile): number => (targets.get(pile) ?? 0) - pile.left - pile.inbound;
  const receiver = takers.reduce((best, pile) => (lacking(pile) > lacking(best) ? pile : best));
  const part = Math.max(DRAINED_PART, Math.ceil(lacking(receiver)));
  return [take(donor, receiver, Math.min(donor.left, part), MoveReason.drain)];
};

/**
 * Plans moves between the shards of one sale (DESIGN 7.3). Pure. A shard gives once a plan, because the script that takes
 * units out wants to know the stock's last move.
 * @param receivers shards that this caller decides for: units go to these, or away from these if they drain
 */
export const planMoves = (views: readonly ShardView[], receivers: ReadonlySet<number>): readonly Move[] => {
  const piles = views.map((view): Pile => ({ view, left: view.left, inbound: view.inbound, hasGiven: false }));
  const moves: Move[] = [];
  for (const pile of piles) {
    const { shard, wanted, isOpen, isDraining } = pile.view;
    if (isOpen && !isDraining && wanted > 0 && receivers.has(shard)) moves.push(...feed(pile, piles));
  }
  for (const pile of piles) if (pile.view.isDraining && receivers.has(pile.view.shard)) moves.push(...drain(pile, piles));
  return moves;
};
