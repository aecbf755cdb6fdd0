import ipaddr from "ipaddr.js";
import type { HttpResponse } from "uWebSockets.js";
import { isInNetwork, readTrustedProxies, trustsNobody, type TrustedProxies } from "#program/trusted-proxies";
import { addressBytes, addressKey, isLoopback, unmapped } from "../admission/address.ts";
import type { RequestHead } from "./request-head.ts";

/** Why the bucket that a request is counted to may not be its client's own. */
export const AddressDoubt = {
  /** whoever sent it says whose it is, by a header or by PROXY protocol, and is not trusted: a proxy that is not listed, or a stranger */
  untrusted: "untrusted",
  /** it came from a trusted proxy that does not say whose it is */
  untold: "untold",
} as const;
export type AddressDoubt = (typeof AddressDoubt)[keyof typeof AddressDoubt];

/** @param peer the address that the connection came from */
export type OnAddressDoubt = (doubt: AddressDoubt, sentence: string, peer: string) => void;

export interface ClientAddressOptions {
  /** as DOORBUSTER_TRUSTED_PROXIES has it: how many proxies are in front, or their addresses and networks */
  readonly trustedProxies: number | string;
  /** the header that holds the client's address, and nothing else; empty: X-Forwarded-For */
  readonly addressHeader: string;
  /** called with a doubt, at most once a second */
  readonly onDoubt: OnAddressDoubt;
  /** called with what that throws */
  readonly onFault: (error: unknown) => void;
}

/** Counts of each doubt, plain numbers. */
export type AddressDoubts = Readonly<Record<AddressDoubt, number>>;

/** What proxies wrote into a request's head. */
type Told = Pick<RequestHead, "forwardedFor" | "namedAddress" | "otherForwarding">;

interface Client {
  readonly address: Uint8Array;
  /** a proxy said so; otherwise it is the connection's own */
  readonly isTold: boolean;
  readonly doubt: AddressDoubt | undefined;
}

/** An entry of X-Forwarded-For: an address, with a port or without. @returns undefined for anything else */
const entryAddress = (entry: string): Uint8Array | undefined => {
  const bare = /^\[(.+)\](?::\d+)?$/.exec(entry)?.[1] ?? /^([\d.]+):\d+$/.exec(entry)?.[1] ?? entry;
  const bytes = addressBytes(bare);
  return bytes === undefined ? undefined : unmapped(bytes);
};

const isTrusted = (trusted: TrustedProxies, address: () => Uint8Array, hop: number): boolean =>
  "hops" in trusted ? hop < trusted.hops : trusted.networks.some((network) => isInNetwork(address(), network));

/** The header by which a request says whose it is, empty if it does not. */
const forwardingOf = ({ forwardedFor, namedAddress, otherForwarding }: Told, addressHeader: string): string => {
  if (forwardedFor !== "") return "X-Forwarded-For";
  return namedAddress === "" ? otherForwarding : addressHeader;
};

/**
 * Who asks. Starts at the connection's own address and goes one hop back for each that is trusted: to what its PROXY header
 * says, then to the entries of X-Forwarded-For from the right, or to the named header. Whatever stands behind the first one
 * that is not trusted is that one's own invention.
 * @param proxied what PROXY protocol says, unmapped; undefined without
 */
export const clientOf = (
  trusted: TrustedProxies,
  addressHeader: string,
  peer: () => Uint8Array,
  proxied: Uint8Array | undefined,
  told: Told,
): Client => {
  let address: Uint8Array | undefined = proxied;
  let hop = proxied === undefined ? 0 : 1;
  const here = (): Uint8Array => address ?? peer();
  const client = (doubt?: AddressDoubt): Client => ({ address: here(), isTold: address !== undefined, doubt });
  if (!isTrusted(trusted, here, hop)) {
    const isDoubtful = hop === 0 && forwardingOf(told, addressHeader) !== "";
    return client(isDoubtful ? AddressDoubt.untrusted : undefined);
  }
  const entries = addressHeader === "" ? told.forwardedFor : told.namedAddress;
  if (addressHeader !== "") {
    address = entryAddress(entries.trim()) ?? address;
    return client(address === undefined ? AddressDoubt.untold : undefined);
  }
  for (let end = entries.length; end > 0 && isTrusted(trusted, here, hop);) {
    const comma = entries.lastIndexOf(",", end - 1);
    const entry = entries.slice(comma + 1, end).trim();
    end = comma;
    if (entry === "") continue;
    const next = entryAddress(entry);
    if (next === undefined) break;
    address = next;
    hop += 1;
  }
  return client(address === undefined ? AddressDoubt.untold : undefined);
};

/** A doubt that is older than this is no news to who asks whether all is well. */
const DOUBT_SHOWN_MS = 60_000;
/** All are counted, one in this time is put into words: a flood may have the header. */
const DOUBT_SAID_EVERY_MS = 1_000;

const textOf = (address: Uint8Array): string =>
  address.length === 4 || address.length === 16 ? ipaddr.fromByteArray([...address]).toString() : "a local socket";
const peerOf = (res: HttpResponse): Uint8Array => unmapped(new Uint8Array(res.getRemoteAddress()));

/** Whose requests those of one mount are. */
export class ClientAddresses {
  /** in lower case */
  readonly addressHeader: string;
  readonly #trusted: TrustedProxies;
  readonly #trustsNobody: boolean;
  readonly #onDoubt: OnAddressDoubt;
  readonly #onFault: (error: unknown) => void;
  readonly #doubts: Record<AddressDoubt, number> = { untrusted: 0, untold: 0 };
  #latest: { readonly sentence: string; readonly atMs: number } | undefined;

  /** @throws TypeError for options that cannot be meant */
  constructor({ trustedProxies, addressHeader, onDoubt, onFault }: ClientAddressOptions) {
    const trusted = readTrustedProxies(String(trustedProxies));
    if (typeof trusted === "string") throw new TypeError(`trustedProxies: ${trusted}`);
    this.#trusted = trusted;
    this.#trustsNobody = trustsNobody(trusted);
    const lower = addressHeader.toLowerCase();
    this.addressHeader = lower === "x-forwarded-for" ? "" : lower;
    if (this.addressHeader !== "" && this.#trustsNobody)
      throw new TypeError("addressHeader: is believed of trusted proxies only, and there are none");
    this.#onDoubt = onDoubt;
    this.#onFault = onFault;
  }

  /** A proxy is in front whose word is taken. */
  get trustsSomebody(): boolean {
    return !this.#trustsNobody;
  }

  get doubts(): AddressDoubts {
    return this.#doubts;
  }

  /** The latest doubt, if it is news, as a sentence. */
  latestDoubt(): string | undefined {
    const latest = this.#latest;
    return latest !== undefined && performance.now() - latest.atMs < DOUBT_SHOWN_MS ? latest.sentence : undefined;
  }

  /** For every request: behind a proxy that nobody named all buyers share its bucket, which nothing else would show. */
  lookAt(res: HttpResponse, head: Readonly<RequestHead>): void {
    if (!this.#trustsNobody) return;
    const forwarding = forwardingOf(head, "");
    if (forwarding !== "") this.#doubt(AddressDoubt.untrusted, forwarding, () => peerOf(res));
  }

  /** The connection began with a PROXY header of somebody who is not trusted. */
  isProxyForged(res: HttpResponse): boolean {
    if (res.getProxiedRemoteAddress().byteLength === 0) return false;
    const peer = (): Uint8Array => peerOf(res);
    if (isTrusted(this.#trusted, peer, 0)) return false;
    this.#doubt(AddressDoubt.untrusted, "PROXY protocol", peer);
    return true;
  }

  /** Key of the client's address bucket. Empty (exempt) for a connection from loopback: a proxy or a tool of ours. */
  keyOf(res: HttpResponse, head: Readonly<RequestHead>): string {
    const peer = (): Uint8Array => peerOf(res);
    if (this.#trustsNobody) {
      const address = peer();
      return isLoopback(address) ? "" : addressKey(address);
    }
    const line = res.getProxiedRemoteAddress();
    const proxied = line.byteLength === 0 ? undefined : unmapped(new Uint8Array(line));
    const { address, isTold, doubt } = clientOf(this.#trusted, this.addressHeader, peer, proxied, head);
    if (doubt !== undefined) this.#doubt(doubt, forwardingOf(head, this.addressHeader) || this.addressHeader || "X-Forwarded-For", peer);
    // An address that was only told is no proof of being on this machine.
    return !isTold && isLoopback(address) ? "" : addressKey(address);
  }

  #doubt(doubt: AddressDoubt, by: string, peer: () => Uint8Array): void {
    this.#doubts[doubt] += 1;
    const atMs = performance.now();
    if (this.#latest !== undefined && atMs - this.#latest.atMs < DOUBT_SAID_EVERY_MS) return;
    const sentence =
      doubt === AddressDoubt.untrusted
        ? `${by} says whose request it is, but DOORBUSTER_TRUSTED_PROXIES does not name who sent it: behind that proxy all buyers share one address bucket`
        : `a proxy named by DOORBUSTER_TRUSTED_PROXIES does not say by ${by} whose request it is: all buyers behind it share one address bucket`;
    this.#latest = { sentence, atMs };
    try {
      this.#onDoubt(doubt, sentence, textOf(peer()));
    } catch (error) {
      this.#onFault(error);
    }
  }
}
