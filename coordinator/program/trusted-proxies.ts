import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

/** Addresses that begin with the same bits. */
export interface Network {
  /** 4 or 16; IPv4 mapped into IPv6 is IPv4 */
  readonly bytes: readonly number[];
  readonly bits: number;
}

/** Whose word about a client's address is taken. */
export type TrustedProxies =
  /** so many hops in front, whatever their addresses; 0 = nobody's */
  { readonly hops: number } | { readonly networks: readonly Network[] };

export const trustsNobody = (trusted: TrustedProxies): boolean => "hops" in trusted && trusted.hops === 0;

/** A chain that is longer is a mistake. */
const MOST_HOPS = 8;

/** @returns what is wrong with it, as a sentence, or the network */
const readNetwork = (text: string): Network | string => {
  const [address = "", prefix, ...rest] = text.split("/");
  if (isIP(address) === 0 || rest.length > 0 || (prefix !== undefined && !/^\d{1,3}$/.test(prefix)))
    return `'${text}': neither an address nor a network such as 10.0.0.0/8 or fd00::/8`;
  const parsed = ipaddr.parse(address);
  const all = parsed.toByteArray();
  const isMapped = parsed.kind() === "ipv6" && (parsed as ipaddr.IPv6).isIPv4MappedAddress();
  const bytes = isMapped ? all.slice(12) : all;
  const bits = (prefix === undefined ? all.length * 8 : Number(prefix)) - (all.length - bytes.length) * 8;
  if (bits > bytes.length * 8) return `'${text}': there are no so many bits in an address`;
  if (bits < 1) return `'${text}': everybody would be trusted; for proxies whose addresses are not known, give their number`;
  return { bytes, bits };
};

/**
 * Reads `2` or `10.0.0.0/8, fd00::/8, 192.0.2.7`.
 * @returns what is wrong with it, as a sentence, or who is trusted
 */
export const readTrustedProxies = (text: string): TrustedProxies | string => {
  const listed = text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  const [only = "0"] = listed;
  if (listed.length < 2 && /^\d+$/.test(only)) {
    const hops = Number(only);
    return hops <= MOST_HOPS ? { hops } : `at most ${MOST_HOPS} proxies behind each other`;
  }
  const networks: Network[] = [];
  for (const part of listed) {
    const network = readNetwork(part);
    if (typeof network === "string") return network;
    networks.push(network);
  }
  return { networks };
};

/** @param bytes of an address; IPv4 mapped into IPv6 as IPv4 */
export const isInNetwork = (bytes: Uint8Array, { bytes: first, bits }: Network): boolean => {
  if (bytes.length !== first.length) return false;
  const whole = bits >> 3;
  for (let at = 0; at < whole; at++) if (bytes[at] !== first[at]) return false;
  const rest = bits & 7;
  return rest === 0 || (((bytes[whole] as number) ^ (first[whole] as number)) & (0xff00 >> rest) & 0xff) === 0;
};
