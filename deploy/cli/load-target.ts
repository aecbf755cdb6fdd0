import { lookup } from "node:dns/promises";
import ipaddr from "ipaddr.js";

/** Ranges of ipaddr.js that are nobody else's: RFC 1918, RFC 4193 and this machine. */
const OWN: ReadonlySet<string> = new Set(["loopback", "private", "uniqueLocal"]);

/** @param address of either family, in text; IPv4 in IPv6 counts as IPv4 */
export const isOwnAddress = (address: string): boolean => ipaddr.isValid(address) && OWN.has(ipaddr.process(address).range());

/** The addresses of a host as this machine resolves it. @param host as URL has it */
const addressesOf = async (host: string): Promise<readonly string[]> => {
  const bare = host.replace(/^\[|\]$/g, "");
  if (ipaddr.isValid(bare)) return [bare];
  try {
    return (await lookup(bare, { all: true })).map(({ address }) => address);
  } catch (error) {
    throw new Error(`--url: ${bare} cannot be resolved (${(error as NodeJS.ErrnoException).code})`, { cause: error });
  }
};

/**
 * The gateway that a crowd may be aimed at. A slip of the pen must not flood somebody else's server, so every address of the
 * host has to be loopback or private unless the user says whose it is.
 * @returns its origin
 * @throws Error with a readable text
 */
export const loadTarget = async (url: string, isOwn: boolean): Promise<string> => {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== "http:") throw new Error(`--url ${JSON.stringify(url)} is not an http:// URL`);
  if (parsed.href !== `${parsed.origin}/`) throw new Error(`--url ${JSON.stringify(url)} has more than a host and a port`);
  const others = isOwn ? [] : (await addressesOf(parsed.hostname)).filter((address) => !isOwnAddress(address));
  if (others.length > 0)
    throw new Error(
      `${parsed.hostname} is neither loopback nor private (${others.join(", ")}): a crowd is sent there only with --yes-i-own-it`,
    );
  return parsed.origin;
};
