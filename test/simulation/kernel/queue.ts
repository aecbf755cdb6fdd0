/**
 * Something that happens at a moment. Steps of the same moment happen in the order in which they were planned. Moments
 * are whole microseconds: small integers are compared and kept several times faster than fractions.
 */
export abstract class Step {
  // assigned, not initialized: Node 20 calls an initializer for every object, a twelfth of all the time
  declare atUs: number;
  declare order: number;

  constructor() {
    this.atUs = 0;
    this.order = 0;
  }

  /** @returns false if it turned out that nothing had to happen */
  abstract run(): boolean;
}

/** A binary heap: a schedule has about a hundred steps ahead of it, and half a million pass a second. */
export class Queue {
  readonly #heap: Step[] = [];
  #planned = 0;

  get length(): number {
    return this.#heap.length;
  }

  push(step: Step, atUs: number): void {
    step.atUs = atUs;
    step.order = this.#planned++;
    this.#rise(step);
  }

  /** Puts a step back that cannot happen yet; it keeps its place among those of the same moment. */
  defer(step: Step, atUs: number): void {
    step.atUs = atUs;
    this.#rise(step);
  }

  pop(): Step | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || first === last) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      const right = child + 1;
      if (right < heap.length && isBefore(heap[right] as Step, heap[child] as Step)) child = right;
      if (!isBefore(heap[child] as Step, last)) break;
      heap[at] = heap[child] as Step;
      at = child;
    }
    heap[at] = last;
    return first;
  }

  #rise(step: Step): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(step);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Step;
      if (!isBefore(step, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = step;
  }
}

const isBefore = (a: Step, b: Step): boolean => a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order);
