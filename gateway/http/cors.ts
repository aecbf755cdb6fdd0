import { bytesOf, headerLines } from "./answer.ts";

/**
 * Headers of ours that a page of another origin may read beside the few that every page may (Fetch standard,
 * CORS-safelisted response headers).
 */
const EXPOSED = "Retry-After, Location, ETag, Doorbuster-Time";

/** The header lines by which a browser judges who may read an answer. One for each allowed origin, made at the start. */
export class CorsLines {
  readonly #text: string;
  readonly #made = new WeakMap<ArrayBuffer, ArrayBuffer>();

  /** @throws TypeError for a header that is not plain printable ASCII */
  constructor(headers: Readonly<Record<string, string>>) {
    this.#text = headerLines(headers);
  }

  /** The head with these lines at its end; of prepared bytes it is made once, so that a crowd's answers stay prepared. */
  on(head: string | ArrayBuffer): string | ArrayBuffer {
    if (typeof head === "string") return head + this.#text;
    let whole = this.#made.get(head);
    if (whole === undefined) {
      whole = bytesOf(Buffer.concat([Buffer.from(head), Buffer.from(this.#text)]));
      this.#made.set(head, whole);
    }
    return whole;
  }
}

/** Nothing in the answer depends on who asks, so it can be cached for everybody; a request with cookies cannot read it. */
export const anybodysLines = new CorsLines({ "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": EXPOSED });

/** The page's browser keeps the answer from it. */
export const nobodysLines = new CorsLines({ Vary: "Origin" });

/**
 * For pages of this origin, also where they send cookies along: without that header such a page would buy by a simple
 * request and see an error.
 */
export const linesFor = (origin: string): CorsLines =>
  new CorsLines({
    "Access-Control-Allow-Origin": origin,
    "Access-Control-Allow-Credentials": "true",
    "Access-Control-Expose-Headers": EXPOSED,
    Vary: "Origin",
  });
