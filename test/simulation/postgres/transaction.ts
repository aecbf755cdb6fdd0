/** What a row lock is on. */
export type Lockable = object;

interface Waiter {
  readonly transaction: Transaction;
  readonly granted: () => void;
}

interface Held {
  holder: Transaction;
  readonly waiters: Waiter[];
}

/** What a transaction needs of its server. */
export interface TransactionServer {
  readonly nowMs: number;
  after(ms: number, work: () => void): void;
  committed(transaction: Transaction): void;
}

/** `idle_in_transaction_session_timeout` (DESIGN 4.6) */
const IDLE_MS = 5_000;

/** Row locks, in the order in which they were asked for. A holder that says nothing for 5 s loses its connection. */
export class Locks {
  readonly #held = new Map<Lockable, Held>();
  readonly #server: TransactionServer;

  constructor(server: TransactionServer) {
    this.#server = server;
  }

  lock(row: Lockable, transaction: Transaction, granted: () => void): void {
    const held = this.#held.get(row);
    if (held === undefined) this.#held.set(row, { holder: transaction, waiters: [] });
    if (held === undefined || held.holder === transaction) {
      transaction.locked.add(row);
      granted();
      return;
    }
    held.waiters.push({ transaction, granted });
    this.#watch(held.holder);
  }

  release(transaction: Transaction): void {
    for (const row of transaction.locked) {
      const held = this.#held.get(row);
      if (held === undefined) continue;
      let next = held.waiters.shift();
      while (next?.transaction.isOver === true) next = held.waiters.shift();
      if (next === undefined) {
        this.#held.delete(row);
        continue;
      }
      held.holder = next.transaction;
      next.transaction.locked.add(row);
      next.transaction.touch();
      if (held.waiters.length > 0) this.#watch(next.transaction);
      next.granted();
    }
    transaction.locked.clear();
  }

  #watch(holder: Transaction): void {
    const waitMs = holder.touchedAtMs + IDLE_MS - this.#server.nowMs;
    this.#server.after(Math.max(1, waitMs), () => {
      if (holder.isOver) return;
      if (this.#server.nowMs - holder.touchedAtMs >= IDLE_MS) holder.rollBack();
      else this.#watch(holder);
    });
  }
}

/** The server or a time-out ended the connection: nothing of the transaction stands. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** One transaction: sees what was committed and its own changes; others see them when it commits. */
export class Transaction {
  readonly locked = new Set<Lockable>();
  isOver = false;
  touchedAtMs: number;
  readonly #server: TransactionServer;
  readonly #locks: Locks;
  readonly #copies = new Map<object, object>();
  readonly #atCommit: (() => void)[] = [];
  #whenLost: (() => void) | undefined;

  constructor(server: TransactionServer, locks: Locks) {
    this.#server = server;
    this.#locks = locks;
    this.touchedAtMs = server.nowMs;
  }

  /** Begins a statement. @throws if the connection is gone */
  touch(): void {
    if (this.isOver) throw new ConnectionLost("terminating connection");
    this.touchedAtMs = this.#server.nowMs;
  }

  lock(row: Lockable, granted: () => void): void {
    this.#locks.lock(row, this, granted);
  }

  /** A row as this transaction sees it. */
  view<T extends object>(row: T): T {
    return (this.#copies.get(row) as T | undefined) ?? row;
  }

  /** A row that this transaction changes. */
  edit<T extends object>(row: T): T {
    let copy = this.#copies.get(row) as T | undefined;
    if (copy === undefined) {
      copy = { ...row };
      this.#copies.set(row, copy);
    }
    return copy;
  }

  atCommit(work: () => void): void {
    this.#atCommit.push(work);
  }

  /** What the client hears if the connection ends while a statement waits. */
  whenLost(work: () => void): void {
    this.#whenLost = work;
  }

  commit(): void {
    this.touch();
    this.isOver = true;
    for (const [row, copy] of this.#copies) Object.assign(row, copy);
    for (const work of this.#atCommit) work();
    this.#server.committed(this);
    this.#locks.release(this);
  }

  rollBack(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#whenLost?.();
    this.#locks.release(this);
  }
}
