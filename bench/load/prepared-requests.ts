import { signTicket, ticketKeys, type TicketKeys } from "../../gateway/index.ts";
import type { LoadOrder, PathRequests, TicketRequests } from "./order.ts";

/** Requests ready to be written, one behind the other in one buffer, so that a pipelined load is one slice of it. */
export interface PreparedRequests {
  /** the next `most` requests or fewer; undefined when there are no more */
  take(most: number): { readonly bytes: Buffer; readonly count: number } | undefined;
}

const TICKET_LIFE_MS = 3_600_000;
/** Texts are joined in pieces: one text of a million requests would be copied once more. */
const PIECE = 10_000;

/** @param text `<key id>:<secret>`, as DOORBUSTER_TICKET_KEYS takes them */
export const keysOf = (text: string): TicketKeys =>
  ticketKeys(text.split(",").map((pair) => ({ id: pair.slice(0, pair.indexOf(":")), secret: pair.slice(pair.indexOf(":") + 1) })));

/** The path behind `/buy/` of each buyer, in order. */
export const addresses = function* (requests: Pick<TicketRequests, "keys" | "saleId" | "prefix" | "count">, from = 0): Generator<string> {
  const { keys, saleId, prefix, count } = requests;
  const expiresAtMs = Date.now() + TICKET_LIFE_MS;
  const signing = keys === "" ? undefined : keysOf(keys);
  for (let number = from; number < from + count; number += 1) {
    const uid = `${prefix}${number}`;
    yield signing === undefined ? uid : signTicket(signing, { saleId, uid, expiresAtMs });
  }
};

export const requestText = (method: string, path: string, host: string, headers = ""): string =>
  `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${headers}${method === "POST" ? "Content-Length: 0\r\n" : ""}\r\n`;

const sameAgain = (text: string, pipelining: number): PreparedRequests => {
  const one = Buffer.byteLength(text, "latin1");
  const many = Buffer.from(text.repeat(pipelining), "latin1");
  return {
    take: (most) => {
      const count = Math.min(most, pipelining);
      return { bytes: many.subarray(0, one * count), count };
    },
  };
};

const ticketTexts = function* (requests: TicketRequests, host: string): Generator<string> {
  for (let purchase = 0; purchase < requests.each; purchase += 1) {
    const key = requests.each === 1 ? "" : `Idempotency-Key: k${purchase}\r\n`;
    for (const address of addresses(requests)) yield requestText("POST", `/buy/${address}`, host, key + requests.headers);
  }
};

const pathTexts = function* ({ paths }: PathRequests, host: string): Generator<string> {
  for (const path of paths) yield requestText("POST", path, host);
};

/** @param all how many texts there are */
const oneEach = (made: Iterable<string>, all: number): PreparedRequests => {
  const ends = new Float64Array(all + 1);
  const pieces: Buffer[] = [];
  let texts: string[] = [];
  let count = 0;
  const flush = (): void => {
    pieces.push(Buffer.from(texts.join(""), "latin1"));
    texts = [];
  };
  for (const text of made) {
    texts.push(text);
    ends[count + 1] = (ends[count] as number) + text.length;
    count += 1;
    if (texts.length === PIECE) flush();
  }
  flush();
  const bytes = Buffer.concat(pieces);
  let next = 0;
  return {
    take: (most) => {
      const count = Math.min(most, all - next);
      if (count <= 0) return undefined;
      const load = bytes.subarray(ends[next], ends[next + count]);
      next += count;
      return { bytes: load, count };
    },
  };
};

export const prepareRequests = ({ host, port, pipelining, requests }: LoadOrder): PreparedRequests => {
  const authority = `${host}:${port}`;
  if (requests.kind === "same") return sameAgain(requests.text, pipelining);
  return requests.kind === "paths"
    ? oneEach(pathTexts(requests, authority), requests.paths.length)
    : oneEach(ticketTexts(requests, authority), requests.count * requests.each);
};
