/** The little of WebSocket (RFC 6455) that a generator needs: short text frames, one frame a message. */
const TEXT = 0x81;
const MASKED = 0x80;
const SHORT_MOST = 125;
const KEY_BYTES = 4;

/** A client's frame, masked with zeros as load generators do: then the text stands as it is. @throws RangeError above 125 bytes */
export const clientFrame = (text: string): Buffer => {
  const body = Buffer.from(text, "latin1");
  if (body.length > SHORT_MOST) throw new RangeError(`a frame of ${body.length} bytes is not short`);
  return Buffer.concat([Buffer.from([TEXT, MASKED | body.length]), Buffer.alloc(KEY_BYTES), body]);
};

const LENGTH_16 = 126;

/** Takes a connection's bytes apart into the texts of a server's frames (below 64 kB, unmasked). */
export class FrameReader {
  readonly #onText: (text: string) => void;
  #rest: Buffer = Buffer.alloc(0);

  constructor(onText: (text: string) => void) {
    this.#onText = onText;
  }

  /** @throws Error for a frame longer than servers here send */
  read(piece: Buffer): void {
    let bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    while (bytes.length >= 2) {
      const short = bytes[1] as number;
      if (short > LENGTH_16) throw new Error("a frame of more than 64 kB, or a masked one");
      const head = short === LENGTH_16 ? 4 : 2;
      if (bytes.length < head) break;
      const end = head + (short === LENGTH_16 ? bytes.readUInt16BE(2) : short);
      if (bytes.length < end) break;
      if (bytes[0] === TEXT) this.#onText(bytes.toString("latin1", head, end));
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  }
}
