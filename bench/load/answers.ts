const HEAD_END = "\r\n\r\n";
/** `Content-Length: ` in any spelling that servers use. */
const LENGTH = "ength: ";
/** `Retry-After: `, likewise. */
const AGAIN = "etry-";
const NOTHING = Buffer.alloc(0);
const ZERO = 48;

/**
 * Reads the answers of one connection: status and length are all that is looked at. Only answers with a Content-Length
 * or without a body (204, 304) are understood; that is what the servers here send.
 */
export class AnswerReader {
  readonly #onAnswer: (status: number, isAgain: boolean) => void;
  readonly #looksForAgain: boolean;
  #rest: Buffer = NOTHING;

  /**
   * @param onAnswer `isAgain`: it asks to come again (Retry-After)
   * @param looksForAgain false: nobody asks, and it is not looked for
   */
  constructor(onAnswer: (status: number, isAgain: boolean) => void, looksForAgain = false) {
    this.#onAnswer = onAnswer;
    this.#looksForAgain = looksForAgain;
  }

  /** @throws Error for an answer without a length */
  read(piece: Buffer): void {
    let bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    for (;;) {
      const headEnd = bytes.indexOf(HEAD_END, 0, "latin1");
      if (headEnd < 0) break;
      const status = this.#digits(bytes, 9, 12);
      const end = headEnd + HEAD_END.length + this.#bodyBytes(bytes, headEnd, status);
      if (bytes.length < end) break;
      const isAgain = this.#looksForAgain && bytes.subarray(0, headEnd).includes(AGAIN, 0, "latin1");
      bytes = bytes.subarray(end);
      this.#onAnswer(status, isAgain);
      if (bytes.length === 0) break;
    }
    this.#rest = bytes;
  }

  #bodyBytes(bytes: Buffer, headEnd: number, status: number): number {
    const at = bytes.indexOf(LENGTH, 0, "latin1");
    if (at >= 0 && at < headEnd) return this.#digits(bytes, at + LENGTH.length, headEnd);
    if (status === 204 || status === 304) return 0;
    throw new Error(`an answer ${status} without a length`);
  }

  #digits(bytes: Buffer, from: number, end: number): number {
    let value = 0;
    for (let at = from; at < end; at += 1) {
      const digit = (bytes[at] as number) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    return value;
  }
}
