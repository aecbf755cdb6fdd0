/** An origin as browsers write it in `Origin`, or why the text is none; `why` ends a sentence that names the text. */
export type ReadOrigin = { readonly origin: string } | { readonly why: string };

const SHAPE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\s]+)(.*)$/i;

/**
 * Reads `scheme://host[:port]`. Browsers write scheme and host in lower case (RFC 6454), a host of other letters in
 * punycode, and no default port; so does the result. A scheme of an app (`capacitor://localhost`) is taken as well.
 *
 * Refused: `*`, because every page on the web could then buy with a ticket that it got hold of, and because a browser lets
 * no request with cookies go to it; a wildcard in the host, because whoever gets one name below it could; `null`, which
 * sandboxed frames and local files of anybody say.
 */
export const readOrigin = (text: string): ReadOrigin => {
  if (text.includes("*")) return { why: "has a wildcard: name each origin whose pages may buy" };
  if (text === "null") return { why: "is the origin of anybody's sandboxed frames and local files" };
  const [, scheme, authority = "", rest] = SHAPE.exec(text) ?? [];
  if (scheme === undefined) return { why: "is not scheme://host[:port], as in https://shop.example" };
  if (rest !== "") return { why: `is not only an origin: leave '${rest}' out` };
  if (authority.includes("@")) return { why: "carries credentials" };
  if (!URL.canParse(text)) return { why: "has no valid host or port" };
  const { protocol, host } = new URL(text);
  return { origin: `${protocol}//${host.toLowerCase()}` };
};
