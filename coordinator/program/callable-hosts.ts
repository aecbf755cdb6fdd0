/** Loopback: 127.0.0.0/8, ::1 and the name that means them. The URL parser has already made 127.1 and 0x7f000001 plain. */
const LOOPBACK = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])$/;

/** Why a URL may not be called. */
export const UrlRefusal = {
  notUrl: "not_a_url",
  scheme: "scheme",
  credentials: "credentials",
  hostNotListed: "host_not_listed",
} as const;
export type UrlRefusal = (typeof UrlRefusal)[keyof typeof UrlRefusal];

/** `why` ends a sentence that names the URL's field; no credentials are in it. */
export type Callable = { readonly ok: true; readonly url: URL } | { readonly ok: false; readonly code: UrlRefusal; readonly why: string };

/**
 * Which hosts may be called: loopback and those listed, each `host`, `host:port` or `*.domain` (with or without port).
 * Whoever may name a URL (in a message, a webhook) could otherwise make us call anything that we can reach.
 */
export const callableHosts = (listed: readonly string[]): ((url: string) => Callable) => {
  const hosts = new Set(listed.map((host) => host.toLowerCase()));
  const allowed = (url: URL): boolean => {
    if (LOOPBACK.test(url.hostname) || hosts.has(url.hostname) || hosts.has(url.host)) return true;
    const port = url.port === "" ? "" : `:${url.port}`;
    for (let dot = url.hostname.indexOf("."); dot >= 0; dot = url.hostname.indexOf(".", dot + 1)) {
      const domain = `*${url.hostname.slice(dot)}`;
      if (hosts.has(domain) || hosts.has(domain + port)) return true;
    }
    return false;
  };
  return (text) => {
    if (!URL.canParse(text)) return { ok: false, code: UrlRefusal.notUrl, why: "is not an absolute URL" };
    const url = new URL(text);
    if (url.protocol !== "http:" && url.protocol !== "https:")
      return { ok: false, code: UrlRefusal.scheme, why: "is not an http or https URL" };
    if (url.username !== "" || url.password !== "") return { ok: false, code: UrlRefusal.credentials, why: "carries credentials" };
    return allowed(url)
      ? { ok: true, url }
      : { ok: false, code: UrlRefusal.hostNotListed, why: `is at host '${url.host}', which may not be called` };
  };
};
