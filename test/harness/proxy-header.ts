import { addressBytes } from "../../gateway/admission/address.ts";

const SIGNATURE = "\r\n\r\n\0\r\nQUIT\n";

/**
 * A header of PROXY protocol v2 (haproxy's doc/proxy-protocol.txt, 2.2), as latin1 text for `Wire.write`.
 * @param source the client's address; undefined: LOCAL, the proxy's own connection
 * @param more TLVs behind the addresses
 */
export const proxyHeader = (source: string | undefined, more = ""): string => {
  const length = (bytes: number): string => String.fromCharCode(bytes >> 8, bytes & 0xff);
  if (source === undefined) return `${SIGNATURE}\x20\x00${length(0)}`;
  const address = Buffer.from(addressBytes(source) ?? []).toString("latin1");
  const rest = `${"\0".repeat(address.length)}\x30\x39\x00\x50${more}`;
  return `${SIGNATURE}\x21${address.length === 4 ? "\x11" : "\x21"}${length(address.length + rest.length)}${address}${rest}`;
};
