import type { Dispatcher } from "undici";

/** How much of an answer's body is read; the bound is in bytes. */
export type BodyWish =
  /** all of it: one that is larger, or breaks off, makes the call fail */
  | { readonly take: "whole"; readonly bytesMost: number }
  /** what comes up to the bound, also of a body that breaks off */
  | { readonly take: "beginning"; readonly bytesMost: number };

export class AnswerTooLargeError extends Error {
  override readonly name = "AnswerTooLargeError";
}

/** Nothing more is waited for. */
export class NoAnswerError extends Error {
  override readonly name = "NoAnswerError";
}

export interface HttpAnswer {
  readonly status: number;
  /** several of one name are joined by a comma */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

type Headers = Parameters<NonNullable<Dispatcher.DispatchHandler["onResponseStart"]>>[2];

const flat = (headers: Headers): Record<string, string> => {
  const flatHeaders: Record<string, string> = {};
  for (const name in headers) if (headers[name] !== undefined) flatHeaders[name] = String(headers[name]);
  return flatHeaders;
};

/** Puts one answer together from its pieces; settles once, and gives the connection up where the rest is not wanted. */
class AnswerReader implements Dispatcher.DispatchHandler {
  readonly #wishOf: (status: number) => BodyWish;
  readonly #resolve: (answer: HttpAnswer) => void;
  readonly #reject: (error: Error) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #pieces: Buffer[] = [];
  #bytes = 0;
  #wish: BodyWish | undefined;
  #status = 0;
  #headers: Record<string, string> = {};
  #controller: Dispatcher.DispatchController | undefined;
  /** why nothing more is wanted, once it is settled */
  #over: Error | undefined;

  constructor(options: Wanted, resolve: (answer: HttpAnswer) => void, reject: (error: Error) => void) {
    this.#wishOf = options.wishOf;
    this.#resolve = resolve;
    this.#reject = reject;
    // oxlint-disable-next-line no-restricted-globals -- the real time of a call to a real service
    this.#timer = setTimeout(() => this.#fail(new NoAnswerError("no answer in time")), options.withinMs);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // it waited for a connection for too long: undici does not send it then
    if (this.#over !== undefined) controller.abort(this.#over);
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    if (status < 200 || this.#over !== undefined) return;
    this.#status = status;
    this.#headers = flat(headers);
    this.#wish = this.#wishOf(status);
  }

  onResponseData(_controller: Dispatcher.DispatchController, piece: Buffer): void {
    if (this.#over !== undefined || this.#wish === undefined) return;
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    if (this.#bytes <= this.#wish.bytesMost) return;
    const tooLarge = new AnswerTooLargeError(`the answer's body has more than ${this.#wish.bytesMost} bytes`);
    if (this.#wish.take === "beginning") this.#answer(tooLarge);
    else this.#fail(tooLarge);
  }

  onResponseEnd(): void {
    this.#answer(undefined);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#wish?.take === "beginning" && !(error instanceof NoAnswerError)) this.#answer(error);
    else this.#fail(error);
  }

  /** @param rest why what may still come is not wanted; undefined: nothing can come */
  #answer(rest: Error | undefined): void {
    if (this.#over !== undefined) return;
    const [first] = this.#pieces;
    const body = this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces);
    this.#resolve({ status: this.#status, headers: this.#headers, body: body.subarray(0, this.#wish?.bytesMost) });
    this.#end(rest ?? new Error("answered"), rest !== undefined);
  }

  #fail(error: Error): void {
    if (this.#over !== undefined) return;
    this.#reject(error);
    this.#end(error, true);
  }

  #end(over: Error, aborts: boolean): void {
    this.#over = over;
    clearTimeout(this.#timer);
    if (aborts) this.#controller?.abort(over);
  }
}

export interface Wanted {
  readonly wishOf: (status: number) => BodyWish;
  readonly withinMs: number;
}

/**
 * One request and its answer on undici's lowest layer: `request` makes a stream of each body, which costs more than all the
 * rest of a call whose answer has some tens of bytes.
 * @throws AnswerTooLargeError, NoAnswerError, and what undici throws
 */
export const exchangeHttp = (dispatcher: Dispatcher, options: Dispatcher.DispatchOptions, wanted: Wanted): Promise<HttpAnswer> =>
  new Promise((resolve, reject) => {
    dispatcher.dispatch(options, new AnswerReader(wanted, resolve, reject));
  });
