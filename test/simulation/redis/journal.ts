/** Takes one change back, or makes it again: each call does the opposite of the one before. */
type Toggle = () => void;

/**
 * What a store would have to undo to be as it was some writes ago. A Redis that fsyncs every second loses its last
 * writes, a replica lags behind by some, a backup is older by many: all are a way back along this journal.
 * A write is what one script did; it is lost as a whole or not at all.
 */
export class Journal {
  readonly #toggles: Toggle[] = [];
  /** where each write began */
  readonly #writes: number[] = [];

  /** writes that can be taken back */
  get length(): number {
    return this.#writes.length;
  }

  begin(): void {
    if (this.#writes.at(-1) !== this.#toggles.length) this.#writes.push(this.#toggles.length);
  }

  set<T extends object, K extends keyof T>(target: T, key: K, value: T[K]): void {
    let other = target[key];
    target[key] = value;
    this.#toggles.push(() => {
      const now = target[key];
      target[key] = other;
      other = now;
    });
  }

  put<K, V>(map: Map<K, V>, key: K, value: V): void {
    this.#change(map, key, value);
  }

  remove<K, V>(map: Map<K, V>, key: K): void {
    if (map.has(key)) this.#change(map, key, undefined);
  }

  add<T>(set: Set<T>, item: T): void {
    if (set.has(item)) return;
    set.add(item);
    this.#toggles.push(() => {
      if (!set.delete(item)) set.add(item);
    });
  }

  append<T>(list: T[], item: T): void {
    list.push(item);
    let isThere = true;
    this.#toggles.push(() => {
      if (isThere) list.pop();
      else list.push(item);
      isThere = !isThere;
    });
  }

  /** Takes the last `writes` writes back. */
  takeBack(writes: number): void {
    const kept = Math.max(0, this.#writes.length - writes);
    this.#undoTo(this.#writes[kept] ?? this.#toggles.length);
    this.#toggles.length = this.#writes[kept] ?? this.#toggles.length;
    this.#writes.length = kept;
  }

  /** What `look` sees with the last `writes` writes taken back; afterwards all is as before. */
  lookBack<T>(writes: number, look: () => T): T {
    const from = this.#writes[Math.max(0, this.#writes.length - writes)] ?? this.#toggles.length;
    this.#undoTo(from);
    const seen = look();
    for (let at = from; at < this.#toggles.length; at += 1) (this.#toggles[at] as Toggle)();
    return seen;
  }

  #undoTo(from: number): void {
    for (let at = this.#toggles.length - 1; at >= from; at -= 1) (this.#toggles[at] as Toggle)();
  }

  #change<K, V>(map: Map<K, V>, key: K, value: V | undefined): void {
    let other = map.get(key);
    if (value === undefined) map.delete(key);
    else map.set(key, value);
    this.#toggles.push(() => {
      const now = map.get(key);
      if (other === undefined) map.delete(key);
      else map.set(key, other);
      other = now;
    });
  }
}
