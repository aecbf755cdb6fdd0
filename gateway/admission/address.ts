import { isIP } from "node:net";

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

const hex = (bytes: Uint8Array, from: number, to: number): string => {
  let text = "";
  for (let i = from; i < to; i++) text += HEX[bytes[i] as number] as string;
  return text;
};

const isZero = (bytes: Uint8Array, from: number, to: number): boolean => {
  for (let i = from; i < to; i++) if (bytes[i] !== 0) return false;
  return true;
};

/** The same address with IPv4 mapped into IPv6 as IPv4, which is how a socket for both families gives it. */
export const unmapped = (bytes: Uint8Array): Uint8Array =>
  bytes.length === 16 && isZero(bytes, 0, 10) && bytes[10] === 0xff && bytes[11] === 0xff ? bytes.subarray(12) : bytes;

/** @param bytes unmapped */
export const isLoopback = (bytes: Uint8Array): boolean =>
  bytes.length === 4 ? bytes[0] === 127 : bytes.length === 16 && isZero(bytes, 0, 15) && bytes[15] === 1;

/**
 * Key of the address bucket: an IPv4 address whole, an IPv6 address by its /64, because one subscriber has at least that
 * much.
 * @param bytes 4 or 16 of them, unmapped; of another length: empty (exempt), a local socket
 */
export const addressKey = (bytes: Uint8Array): string => {
  if (bytes.length === 4) return hex(bytes, 0, 4);
  return bytes.length === 16 ? hex(bytes, 0, 8) : "";
};

const groupsOf = (text: string): number[] => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));

/**
 * Read for every purchase behind a proxy, so by ourselves: ipaddr.js takes 0.98 us for an IPv4 address where this takes 0.88,
 * and 3.3 us for an IPv6 address where this takes 1.6 (node 20; both behind isIP, which ipaddr.js needs too: alone it reads
 * `127.1` and `1` as addresses).
 * @returns the 4 or 16 bytes of an IP address in text (as X-Forwarded-For has it), undefined if it is none
 */
export const addressBytes = (text: string): Uint8Array | undefined => {
  const family = isIP(text);
  if (family === 0) return undefined;
  if (family === 4) return Uint8Array.from(text.split("."), Number);
  let groups = text.split("%")[0] as string;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(groups);
  if (dotted !== null) {
    const [a, b, c, d] = dotted.slice(2).map(Number) as [number, number, number, number];
    groups = `${dotted[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head = "", tail] = groups.split("::");
  const before = groupsOf(head);
  const after = tail === undefined ? [] : groupsOf(tail);
  const bytes = new Uint8Array(16);
  const put = (group: number, place: number): void => {
    bytes[place * 2] = group >> 8;
    bytes[place * 2 + 1] = group & 0xff;
  };
  before.forEach((group, place) => put(group, place));
  after.forEach((group, place) => put(group, 8 - after.length + place));
  return bytes;
};
