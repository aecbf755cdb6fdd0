/** Things to be done again at a time: asked to come back, or lost with a broken connection. */
export class ComeBack<T> {
  /** ascending by time; appended mostly in order, because Retry-After is mostly the same */
  readonly #waiting: { readonly atMs: number; readonly item: T }[] = [];
  #head = 0;

  add(item: T, atMs: number): void {
    let at = this.#waiting.length;
    while (at > this.#head && (this.#waiting[at - 1]?.atMs ?? 0) > atMs) at -= 1;
    if (at === this.#waiting.length) this.#waiting.push({ atMs, item });
    else this.#waiting.splice(at, 0, { atMs, item });
  }

  /** @returns the one that has been due longest, if any is due */
  take(nowMs: number): T | undefined {
    const due = this.#waiting[this.#head];
    if (due === undefined || due.atMs > nowMs) return undefined;
    this.#head += 1;
    if (this.#head > 10_000 && this.#head * 2 > this.#waiting.length) {
      this.#waiting.splice(0, this.#head);
      this.#head = 0;
    }
    return due.item;
  }

  get size(): number {
    return this.#waiting.length - this.#head;
  }
}
