/** Values of the text columns; the migrations have the same lists as CHECKs. */
export { OrderState } from "#protocol/order";

/** What a sale's row says; whether it is archived is a column of its own. */
export const StoredSaleState = { open: "open", paused: "paused", closed: "closed" } as const;
export type StoredSaleState = (typeof StoredSaleState)[keyof typeof StoredSaleState];

export const GrantKind = { opening: "opening", added: "added", returned: "returned", transfer: "transfer" } as const;
export type GrantKind = (typeof GrantKind)[keyof typeof GrantKind];

/** `sent`: Redis should take it in; `done`: Redis's own entry about it is applied */
export const GrantState = { sent: "sent", done: "done" } as const;
export type GrantState = (typeof GrantState)[keyof typeof GrantState];
