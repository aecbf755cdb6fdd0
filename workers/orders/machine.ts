import { OrderState } from "#protocol/order";

export const OrderEvent = {
  /** money came in */
  pay: "pay",
  /** the sale's payment window is over */
  expire: "expire",
  cancel: "cancel",
  refund: "refund",
} as const;
export type OrderEvent = (typeof OrderEvent)[keyof typeof OrderEvent];

/** What an event does to an order that it does not bring into its target state. */
export const Standing = {
  /** it has happened before, or something else made it needless */
  done: "done",
  /** the target state needs units, which the order has given back */
  needsUnits: "needs_units",
  /** not in this state */
  refused: "refused",
} as const;
export type Standing = (typeof Standing)[keyof typeof Standing];

const { pendingPayment, paid, expired, cancelled, refunded, rejected } = OrderState;
const { done, needsUnits, refused } = Standing;

/**
 * The whole machine (DESIGN 9): state x event. A state is where the event brings the order; an order whose state an event
 * does not change has a standing.
 */
const TABLE: Readonly<Record<OrderState, Readonly<Record<OrderEvent, OrderState | Standing>>>> = {
  [pendingPayment]: { pay: paid, expire: expired, cancel: cancelled, refund: refused },
  [paid]: { pay: done, expire: done, cancel: refused, refund: refunded },
  [expired]: { pay: needsUnits, expire: done, cancel: done, refund: refused },
  [cancelled]: { pay: needsUnits, expire: done, cancel: done, refund: refused },
  [refunded]: { pay: done, expire: done, cancel: refused, refund: done },
  [rejected]: { pay: refused, expire: done, cancel: refused, refund: refused },
};

const STATES: ReadonlySet<string> = new Set(Object.values(OrderState));
const isState = (cell: OrderState | Standing): cell is OrderState => STATES.has(cell);

/** Where an event brings an order. */
export const targetOf: Readonly<Record<OrderEvent, OrderState>> = { pay: paid, expire: expired, cancel: cancelled, refund: refunded };

/** States in which an event changes an order: the condition of its one UPDATE. */
export const changedBy = (event: OrderEvent): readonly OrderState[] =>
  Object.values(OrderState).filter((state) => isState(TABLE[state][event]));

/** States out of which an event could bring an order if it had its units again. */
export const revivedBy = (event: OrderEvent): readonly OrderState[] =>
  Object.values(OrderState).filter((state) => TABLE[state][event] === needsUnits);

/**
 * How an event stands to an order that its UPDATE has left alone; undefined if that state should have been changed. An order in
 * a state of a later version is left as it is.
 */
export const standingOf = (state: string, event: OrderEvent): Standing | undefined => {
  if (!STATES.has(state)) return refused;
  const cell = TABLE[state as OrderState][event];
  return isState(cell) ? undefined : cell;
};
