import type { HttpRequest } from "uWebSockets.js";

/** A browser sends 1-3 kB; uWebSockets.js itself lets 60 kB pass and hangs for 12 s above 100 headers. */
const MAX_HEADER_BYTES = 8_192;
const MAX_HEADERS = 64;

/** What the routes want to know of a request's headers, read in one pass because a request is dead after the first await. */
export interface RequestHead {
  count: number;
  bytes: number;
  /** how many Content-Length headers there are, also empty ones */
  lengths: number;
  contentLength: string;
  transferEncodings: number;
  transferEncoding: string;
  hosts: number;
  host: string;
  idempotencyKeys: number;
  idempotencyKey: string;
  /** several headers of one name are joined by a comma, as RFC 9110 reads them */
  prefer: string;
  forwardedFor: string;
  /** the header that was named to `readHead` */
  namedAddress: string;
  /** the name of a header by which proxies say whose request it is, if it is another one than X-Forwarded-For */
  otherForwarding: string;
  ifNoneMatch: string;
  /** of the page that a browser asks for; empty where no page asks */
  origin: string;
  /** Sec-Fetch-Site: the browser's own word on whether the page is of our origin */
  fetchSite: string;
  /** Access-Control-Request-Method: what a preflight asks for */
  askedMethod: string;
}

const joined = (before: string, value: string): string => (before === "" ? value : `${before},${value}`);

/** The one that is being read: for a refusal, which ends in the same call, nothing is made. */
const reading = {} as RequestHead;
let addressHeader = "";
/** One function for all requests: a closure each would cost more than the pass itself. Names come in lower case. */
const take = (name: string, value: string): void => {
  reading.count += 1;
  reading.bytes += name.length + value.length + 4;
  if (name === addressHeader) reading.namedAddress = joined(reading.namedAddress, value);
  switch (name.length) {
    case 4:
      if (name === "host") {
        reading.hosts += 1;
        reading.host = value;
      }
      break;
    case 6:
      if (name === "origin") reading.origin = joined(reading.origin, value);
      else if (name === "prefer") reading.prefer = joined(reading.prefer, value);
      break;
    case 9:
      if (name === "x-real-ip" || name === "forwarded") reading.otherForwarding = name;
      break;
    case 13:
      if (name === "if-none-match") reading.ifNoneMatch = joined(reading.ifNoneMatch, value);
      break;
    case 14:
      if (name === "content-length") {
        reading.lengths += 1;
        reading.contentLength = value;
      } else if (name === "sec-fetch-site") reading.fetchSite = joined(reading.fetchSite, value);
      break;
    case 15:
      if (name === "idempotency-key") {
        reading.idempotencyKeys += 1;
        reading.idempotencyKey = value;
      } else if (name === "x-forwarded-for") reading.forwardedFor = joined(reading.forwardedFor, value);
      break;
    case 16:
      if (name === "cf-connecting-ip") reading.otherForwarding = name;
      break;
    case 17:
      if (name === "transfer-encoding") {
        reading.transferEncodings += 1;
        reading.transferEncoding = value;
      }
      break;
    case 29:
      if (name === "access-control-request-method") reading.askedMethod = value;
      break;
    default:
  }
};

/**
 * One pass over all headers. With the one or two headers of a load generator it costs as much as the two `getHeader`
 * calls that would miss an empty Content-Length in front of a second one; each further header costs about 0.2 us.
 * @param named one more header that is wanted, in lower case (RequestHead.namedAddress); empty for none
 * @returns good until the next request is read: who keeps it takes a copy
 */
export const readHead = (req: HttpRequest, named: string): Readonly<RequestHead> => {
  addressHeader = named;
  reading.count = 0;
  reading.bytes = 0;
  reading.lengths = 0;
  reading.contentLength = "";
  reading.transferEncodings = 0;
  reading.transferEncoding = "";
  reading.hosts = 0;
  reading.host = "";
  reading.idempotencyKeys = 0;
  reading.idempotencyKey = "";
  reading.prefer = "";
  reading.forwardedFor = "";
  reading.namedAddress = "";
  reading.otherForwarding = "";
  reading.ifNoneMatch = "";
  reading.origin = "";
  reading.fetchSite = "";
  reading.askedMethod = "";
  req.forEach(take);
  return reading;
};

const LENGTH = /^\d{1,15}$/;
const CHUNKED = /^chunked$/i;

/**
 * False if two readers could disagree about where the request ends: two Content-Length headers let a second request be
 * smuggled past a proxy, and uWebSockets.js takes `Transfer-Encoding: xchunked` as chunked. The one transfer coding that is
 * taken is `chunked` itself, said once and without a Content-Length.
 */
export const isFramed = (head: RequestHead): boolean =>
  head.transferEncodings === 0
    ? head.lengths === 0 || (head.lengths === 1 && LENGTH.test(head.contentLength))
    : head.transferEncodings === 1 && head.lengths === 0 && CHUNKED.test(head.transferEncoding);

/** A body follows, or may follow: of a framed request. */
export const hasBody = (head: RequestHead): boolean => head.transferEncodings > 0 || (head.lengths > 0 && Number(head.contentLength) > 0);

/** RFC 9110 7.2: a name, an IPv4 or a bracketed IP address, and perhaps a port; it may be empty. */
const HOST = /^(?:\[[0-9A-Za-z:.%_~-]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::\d{0,5})?$/;
/** A crowd names the same host: only another one is looked at. */
let goodHost = "";

/** RFC 9112 3.2: exactly one Host. Behind two of them a proxy and we could mean different services. */
export const isHostOne = (head: RequestHead): boolean => {
  if (head.hosts !== 1) return false;
  if (head.host === goodHost) return true;
  if (!HOST.test(head.host)) return false;
  goodHost = head.host;
  return true;
};

/** Nothing is due but an answer: no body, no header that could make a purchase another one, no doubt about any of it. */
export const isPlain = (head: RequestHead): boolean =>
  (head.lengths === 0 || (head.lengths === 1 && head.contentLength === "0")) &&
  head.transferEncodings === 0 &&
  head.idempotencyKeys === 0 &&
  isHostOne(head) &&
  !isHeadTooLarge(head);

export const isHeadTooLarge = (head: RequestHead): boolean => head.bytes > MAX_HEADER_BYTES || head.count > MAX_HEADERS;
