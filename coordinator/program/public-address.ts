import { lookup, type LookupAddress, type LookupOptions } from "node:dns";
import ipaddr from "ipaddr.js";

/** A name or address leads to where only we can reach: loopback, a private network, a cloud's metadata. */
export class NotPublicError extends Error {
  override readonly name = "NotPublicError";
}

/** @param address of either family, in text; IPv4 in IPv6 counts as IPv4 */
export const isPublicAddress = (address: string): boolean => ipaddr.isValid(address) && ipaddr.process(address).range() === "unicast";

/** False for the text of an address that is not public; a name is judged when it is looked up. @param hostname as URL has it */
export const isPublicHost = (hostname: string): boolean => {
  const bare = hostname.replace(/^\[|\]$/g, "");
  return ipaddr.isValid(bare) ? isPublicAddress(bare) : true;
};

type Found = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

/**
 * dns.lookup for a socket that may connect to public addresses only. The addresses judged are those connected to, so a
 * name that answers otherwise the second time (DNS rebinding) gains nothing. One that is not public condemns all.
 */
export const lookupPublic = (hostname: string, options: LookupOptions, found: Found): void => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) found(error, "");
    else if (!addresses.every(({ address }) => isPublicAddress(address)))
      found(new NotPublicError(`the name ${hostname} leads to an address that is not public`), "");
    else if (options.all === true) found(null, addresses);
    else found(null, addresses[0]?.address ?? "", addresses[0]?.family);
  });
};
