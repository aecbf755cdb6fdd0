/** Items that wait; a server that hangs must not take the caller's memory. */
const MOST_WAITING = 50_000;

interface Waiting<Item, Answer> {
  readonly item: Item;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** The script itself failed: an item of the batch is to blame (a key of another type, say), and not the server's state. */
const isOfAnItem = (error: unknown): boolean => error instanceof Error && /^(?:ERR|WRONGTYPE) /.test(error.message);

/**
 * Items that a script takes many of: those of one turn of the event loop go out in one call, and while that is on its
 * way the next batch grows. So load makes batches, which share one round trip, one script run and
 * one fsync, and idleness keeps the delay low. A batch that one of its items spoils is sent again item by item.
 */
export class Batches<Item, Answer> {
  readonly #send: (items: readonly Item[]) => Promise<readonly Answer[]>;
  readonly #most: number;
  #waiting: Waiting<Item, Answer>[] = [];
  #isOnWire = false;
  #isScheduled = false;

  /** @param send answers in the order of the items; must be repeatable. @param most items a call */
  constructor(send: (items: readonly Item[]) => Promise<readonly Answer[]>, most: number) {
    this.#send = send;
    this.#most = most;
  }

  /** Rejects as the call did that carried the item: what became of it is then unknown. */
  add(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length >= MOST_WAITING) {
        reject(new Error(`${MOST_WAITING} wait already`));
        return;
      }
      this.#waiting.push({ item, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#isScheduled || this.#waiting.length === 0 || this.#isOnWire) return;
    this.#isScheduled = true;
    setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    this.#isScheduled = false;
    const batch = this.#waiting.length <= this.#most ? this.#waiting : this.#waiting.slice(0, this.#most);
    this.#waiting = batch === this.#waiting ? [] : this.#waiting.slice(this.#most);
    this.#isOnWire = true;
    void this.#carry(batch).finally(() => {
      this.#isOnWire = false;
      this.#schedule();
    });
  };

  async #carry(batch: readonly Waiting<Item, Answer>[]): Promise<void> {
    try {
      const answers = await this.#send(batch.map(({ item }) => item));
      for (const [i, { resolve }] of batch.entries()) resolve(answers[i] as Answer);
    } catch (error) {
      if (batch.length > 1 && isOfAnItem(error)) for (const one of batch) await this.#carry([one]);
      else for (const { reject } of batch) reject(error);
    }
  }
}
