import { hash, timingSafeEqual } from "node:crypto";
import { isId } from "#protocol/ids";
import { wallTimeFault } from "#protocol/wall-time";

/**
 * A ticket is the right of one buyer to call buy on one sale until it expires:
 *
 *     1 <n><key id> <n><sale id> <n><uid> <expiry> <mac>          (without the spaces)
 *
 * `<n>` is one base64url character that gives the length of what follows (A = 1 ... _ = 64), so that no two lists of
 * fields have the same text; the expiry is ms since 1970 in nine base-36 digits; the mac is HMAC-SHA256 over everything
 * before it, 43 base64url characters. All of it is URL-safe, and a ticket has exactly one spelling, because the mac is
 * compared as text over text.
 */
export interface TicketFields {
  readonly saleId: string;
  readonly uid: string;
  /** wall clock, ms since 1970; the ticket is good before it */
  readonly expiresAtMs: number;
}

/** Whom a ticket names. */
export interface ReadTicket {
  readonly saleId: string;
  readonly uid: string;
}

/** Where the text of a ticket names its sale and its buyer: from `At` to before `End`. */
export interface TicketPlaces {
  saleAt: number;
  saleEnd: number;
  uidAt: number;
  uidEnd: number;
}

export type TicketVerdict = "ok" | "ticket_invalid" | "ticket_expired";

/** One secret, as the two first blocks of its HMAC (RFC 2104): computed once, not once a ticket. */
interface TicketKey {
  readonly id: string;
  readonly inner: Buffer;
  readonly outer: Buffer;
}

/** The first key signs, all verify: a new key goes behind, then to the front, and the old one goes when its tickets have expired. */
export interface TicketKeys {
  /** replaced by renewTicketKeys alone */
  signing: TicketKey;
  byId: ReadonlyMap<string, TicketKey>;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const KEY_ID = /^[A-Za-z0-9_-]{1,16}$/;
const VERSION = "1";
/** 36^9 - 1 ms: the year 5188 */
const EXPIRY_DIGITS = 9;
const MAC_CHARACTERS = 43;
/** where the key id begins: behind the version and its length */
const KEY_AT = 2;
const TAIL = EXPIRY_DIGITS + MAC_CHARACTERS;
const SHORTEST = 1 + 3 * 2 + TAIL;
const LONGEST = 1 + 17 + 65 + 65 + TAIL;
/** Without it an id could hold characters that mean something elsewhere; a genuine ticket has none. */
const URL_SAFE = /^[\w-]+$/;

/** Character code -> length 1..64, 0 for what is not in the alphabet. */
const LENGTHS = new Uint8Array(128);
for (let place = 0; place < ALPHABET.length; place++) LENGTHS[ALPHABET.charCodeAt(place)] = place + 1;

const BLOCK = 64;
const DIGEST = 32;

const ticketKey = (id: string, secret: string): TicketKey => {
  let bytes = Buffer.from(secret, "utf8");
  if (bytes.length > BLOCK) bytes = hash("sha256", bytes, "buffer");
  const inner = Buffer.alloc(BLOCK + LONGEST, 0x36);
  const outer = Buffer.alloc(BLOCK + DIGEST, 0x5c);
  for (const [at, byte] of bytes.entries()) {
    inner[at] = byte ^ 0x36;
    outer[at] = byte ^ 0x5c;
  }
  return { id, inner, outer };
};

/**
 * @param secrets at least one; the first signs
 * @throws TypeError for no key, a bad key id or the same id twice
 */
export const ticketKeys = (secrets: readonly { readonly id: string; readonly secret: string }[]): TicketKeys => {
  const byId = new Map<string, TicketKey>();
  for (const { id, secret } of secrets) {
    if (!KEY_ID.test(id)) throw new TypeError(`ticket key id ${JSON.stringify(id)} does not match ${KEY_ID.source}`);
    if (secret === "") throw new TypeError(`ticket key ${id} has an empty secret`);
    if (byId.has(id)) throw new TypeError(`ticket key id ${id} is given twice`);
    byId.set(id, ticketKey(id, secret));
  }
  const [signing] = byId.values();
  if (signing === undefined) throw new TypeError("at least one ticket key is needed");
  return { signing, byId };
};

/** All who hold `keys` sign and verify by these secrets from now on. @throws TypeError as ticketKeys, and the former ones stay */
export const renewTicketKeys = (keys: TicketKeys, secrets: Parameters<typeof ticketKeys>[0]): void =>
  void Object.assign(keys, ticketKeys(secrets));

/**
 * HMAC-SHA256 by two one-shot hashes over prepared blocks: 450 k/s on one core where `createHmac` with a key object did
 * 250 k/s (Node 20.20; it makes two objects a call).
 */
const macOf = (key: TicketKey, message: string): string => {
  const length = key.inner.write(message, BLOCK, "latin1");
  key.outer.write(hash("sha256", key.inner.subarray(0, BLOCK + length), "binary"), BLOCK, "latin1");
  return hash("sha256", key.outer, "base64url");
};

const prefixed = (text: string): string => ALPHABET.charAt(text.length - 1) + text;

/** @throws TypeError for ids that do not match the pattern, or an expiry that is no time from 2000 to 2100: the caller's mistake */
export const signTicket = (keys: TicketKeys, fields: TicketFields): string => {
  const { saleId, uid, expiresAtMs } = fields;
  if (!isId(saleId) || !isId(uid)) throw new TypeError("sale id and uid must match ^[A-Za-z0-9_-]{1,64}$");
  const fault = wallTimeFault(expiresAtMs);
  if (fault !== undefined) throw new TypeError(`expiresAtMs ${fault}`);
  const expiry = expiresAtMs.toString(36).padStart(EXPIRY_DIGITS, "0");
  const message = VERSION + prefixed(keys.signing.id) + prefixed(saleId) + prefixed(uid) + expiry;
  return message + macOf(keys.signing, message);
};

/** @returns 1 to 64, or 0 if there is no such character */
const lengthAt = (text: string, at: number): number => LENGTHS[text.charCodeAt(at)] ?? 0;

/** @returns -1 if a character is not a base-36 digit in lower case */
const readExpiry = (text: string, from: number): number => {
  let ms = 0;
  for (let at = from; at < from + EXPIRY_DIGITS; at++) {
    const code = text.charCodeAt(at);
    if (code >= 48 && code <= 57) ms = ms * 36 + code - 48;
    else if (code >= 97 && code <= 122) ms = ms * 36 + code - 87;
    else return -1;
  }
  return ms;
};

const places: TicketPlaces = { saleAt: 0, saleEnd: 0, uidAt: 0, uidEnd: 0 };

/**
 * Whom the ticket names, by its lengths alone: enough to refuse early, never enough to sell. Characters and mac are for
 * `verifyTicket` to judge, because looking at each character would double the cost of a refusal's reading, and so would
 * cutting the names out.
 * @returns undefined if the text does not have the shape of a ticket; else the same object each time, good until the next call
 */
export const findTicket = (text: string): Readonly<TicketPlaces> | undefined => {
  if (text.length < SHORTEST || text.length > LONGEST || text[0] !== VERSION) return undefined;
  const end = text.length - TAIL;
  const keyLength = lengthAt(text, KEY_AT - 1);
  const saleAt = KEY_AT + keyLength + 1;
  const saleLength = lengthAt(text, saleAt - 1);
  const uidAt = saleAt + saleLength + 1;
  const uidLength = lengthAt(text, uidAt - 1);
  if (keyLength === 0 || saleLength === 0 || uidLength === 0 || uidAt + uidLength !== end) return undefined;
  places.saleAt = saleAt;
  places.saleEnd = uidAt - 1;
  places.uidAt = uidAt;
  places.uidEnd = end;
  return places;
};

/** As `findTicket`, with the names cut out. */
export const readTicket = (text: string): ReadTicket | undefined => {
  const found = findTicket(text);
  return found && { saleId: text.slice(found.saleAt, found.saleEnd), uid: text.slice(found.uidAt, found.uidEnd) };
};

const given = Buffer.alloc(MAC_CHARACTERS);
const wanted = Buffer.alloc(MAC_CHARACTERS);

/**
 * @param text what `readTicket` has read
 * @param nowMs wall clock
 * @returns `ticket_expired` only for a genuine ticket
 */
export const verifyTicket = (keys: TicketKeys, text: string, nowMs: number): TicketVerdict => {
  const key = keys.byId.get(text.slice(KEY_AT, KEY_AT + lengthAt(text, KEY_AT - 1)));
  const end = text.length - MAC_CHARACTERS;
  const expiresAtMs = readExpiry(text, end - EXPIRY_DIGITS);
  if (key === undefined || expiresAtMs < 0 || !URL_SAFE.test(text)) return "ticket_invalid";
  given.write(text.slice(end), "latin1");
  wanted.write(macOf(key, text.slice(0, end)), "latin1");
  if (!timingSafeEqual(given, wanted)) return "ticket_invalid";
  return nowMs < expiresAtMs ? "ok" : "ticket_expired";
};

/** The readers of tickets as one object, as the service takes them. */
export const ticketReader = (
  keys: TicketKeys,
): {
  readonly find: typeof findTicket;
  readonly read: typeof readTicket;
  readonly verify: (text: string, nowMs: number) => TicketVerdict;
} => ({
  find: findTicket,
  read: readTicket,
  verify: (text, nowMs) => verifyTicket(keys, text, nowMs),
});
