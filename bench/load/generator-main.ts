import { connect, type Socket } from "node:net";
import { build, encodeIntoCompressedBase64, type Histogram } from "hdr-histogram-js";
import { prepareRequests, type PreparedRequests } from "./prepared-requests.ts";
import { AnswerReader } from "./answers.ts";
import type { GeneratorMessage, LoadOrder, LoadResult } from "./order.ts";
import { schedule, type Schedule } from "./schedule.ts";

/**
 * The load generator: one process, raw sockets, requests made before the load begins. It is given one order by its
 * command line and sends one result to its parent; it ends with its parent.
 */
const TICK_MS = 1;
/** What is on its way at the end of an open loop has this long to be answered. */
const PATIENCE_MS = 10_000;
const MOST_MICROS = 60_000_000;
const TENTH_MS = 100;

const tell = (message: GeneratorMessage): void => void process.send?.(message);

/** Counts what is answered from `beginMs` on. */
class Ledger {
  readonly latency: Histogram = build({ highestTrackableValue: MOST_MICROS, numberOfSignificantValueDigits: 3 });
  readonly answered: Record<string, number> = {};
  readonly tenths: number[] = [];
  beginMs = Number.POSITIVE_INFINITY;
  lastMs = 0;
  sent = 0;
  failed = 0;
  counts = true;

  answer(status: string, startMs: number, nowMs: number): void {
    if (!this.counts || startMs < this.beginMs) return;
    this.lastMs = nowMs;
    this.answered[status] = (this.answered[status] ?? 0) + 1;
    this.latency.recordValue(Math.min(MOST_MICROS, Math.max(1, Math.round((nowMs - startMs) * 1_000))));
    const tenth = Math.floor((nowMs - this.beginMs) / TENTH_MS);
    while (this.tenths.length <= tenth) this.tenths.push(0);
    this.tenths[tenth] = (this.tenths[tenth] as number) + 1;
  }

  fail(startMs: number): void {
    if (this.counts && startMs >= this.beginMs) this.failed += 1;
  }

  result(endMs: number): LoadResult {
    return {
      seconds: (endMs - this.beginMs) / 1_000,
      sent: this.sent,
      answered: this.answered,
      failed: this.failed,
      latency: encodeIntoCompressedBase64(this.latency),
      tenths: this.tenths,
    };
  }
}

/** One connection; `starts` are the moments from which the requests on their way count, oldest first. */
interface Connection {
  socket: Socket;
  starts: number[];
}

class Generator {
  readonly #order: LoadOrder;
  readonly #requests: PreparedRequests;
  readonly #ledger = new Ledger();
  readonly #connections = new Set<Connection>();
  /** called for every connection that has room for `room` more requests */
  #onRoom: (connection: Connection, room: number) => void = () => undefined;
  #over = false;

  constructor(order: LoadOrder) {
    this.#order = order;
    this.#requests = prepareRequests(order);
  }

  async run(): Promise<LoadResult> {
    await Promise.all(Array.from({ length: this.#order.connections }, () => this.#connect()));
    const result = await (this.#order.perSecond > 0 ? this.#open() : this.#closed());
    this.#over = true;
    for (const { socket } of this.#connections) socket.destroy();
    return result;
  }

  /** Every answer lets the next request go, for the time that was ordered or until the requests are used up. */
  #closed(): Promise<LoadResult> {
    const { warmUpMs, measureMs, pipelining, pause } = this.#order;
    const ledger = this.#ledger;
    return new Promise((resolve) => {
      let isUsedUp = false;
      const end = (endMs: number): void => {
        if (!ledger.counts) return;
        ledger.counts = false;
        clearTimeout(timer);
        resolve(ledger.result(endMs));
      };
      const goOn = (connection: Connection, room: number): void => {
        if (!isUsedUp && ledger.counts && this.#generate(connection, room, performance.now()) < room) isUsedUp = true;
        if (isUsedUp && [...this.#connections].every(({ starts }) => starts.length === 0)) end(Math.max(ledger.lastMs, ledger.beginMs));
      };
      this.#onRoom = (connection, room) => {
        if (pause === undefined || Math.random() >= pause.share) goOn(connection, room);
        else setTimeout(goOn, 1 + Math.random() * (pause.mostMs - 1), connection, room);
      };
      let timer: NodeJS.Timeout | undefined;
      const begin = (): void => {
        ledger.beginMs = performance.now();
        tell({ kind: "begin" });
        timer = setTimeout(() => end(performance.now()), measureMs);
      };
      // Without a warm-up every request counts, the first ones too.
      if (warmUpMs === 0) begin();
      else timer = setTimeout(begin, warmUpMs);
      for (const connection of this.#connections) this.#onRoom(connection, pipelining);
    });
  }

  /** Requests leave by the schedule; one that finds no free connection waits for it, and its latency runs meanwhile. */
  async #open(): Promise<LoadResult> {
    const { warmUpMs, measureMs, perSecond } = this.#order;
    const ledger = this.#ledger;
    const startMs = performance.now() + TICK_MS;
    const plan: Schedule = schedule(startMs, warmUpMs + measureMs, perSecond);
    ledger.beginMs = startMs + warmUpMs;
    const beginning = setTimeout(() => tell({ kind: "begin" }), warmUpMs);
    const free = [...this.#connections];
    let next = 0;
    let due = 0;
    const generate = (): void => {
      while (next < due && free.length > 0) {
        if (this.#generate(free.pop() as Connection, 1, plan.intendedMs(next)) === 0) due = next;
        else next += 1;
      }
    };
    this.#onRoom = (connection) => {
      free.push(connection);
      generate();
    };
    const endMs = startMs + warmUpMs + measureMs;
    for (;;) {
      const nowMs = performance.now();
      due = plan.due(nowMs);
      generate();
      const isDone = next >= plan.total && free.length === this.#order.connections;
      if (isDone || nowMs > endMs + PATIENCE_MS) break;
      await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
    clearTimeout(beginning);
    ledger.failed += plan.total - next;
    for (const { starts } of this.#connections) for (const start of starts) ledger.fail(start);
    return ledger.result(endMs);
  }

  /** @returns how many requests were left to be sent */
  #generate(connection: Connection, room: number, startMs: number): number {
    const load = this.#requests.take(room);
    if (load === undefined) return 0;
    if (startMs >= this.#ledger.beginMs) this.#ledger.sent += load.count;
    for (let shot = 0; shot < load.count; shot += 1) connection.starts.push(startMs);
    connection.socket.write(load.bytes);
    return load.count;
  }

  async #connect(): Promise<void> {
    const { host, port } = this.#order;
    const connection: Connection = { socket: connect({ host, port, noDelay: true }), starts: [] };
    await new Promise((resolve, reject) => connection.socket.once("connect", resolve).once("error", reject));
    this.#connections.add(connection);
    this.#listen(connection);
  }

  #listen(connection: Connection): void {
    let answered = 0;
    let nowMs = 0;
    const reader = new AnswerReader((status, isAgain) => {
      this.#ledger.answer(isAgain ? `${status} again` : String(status), connection.starts.shift() as number, nowMs);
      answered += 1;
    }, this.#order.countsAgain);
    connection.socket.on("data", (piece: Buffer) => {
      nowMs = performance.now();
      answered = 0;
      reader.read(piece);
      if (answered > 0) this.#onRoom(connection, answered);
    });
    connection.socket.on("error", () => undefined);
    connection.socket.once("close", () => {
      if (this.#over) return;
      // What was on its way is lost; a new connection takes the place of this one.
      const lost = connection.starts.splice(0);
      for (const start of lost) this.#ledger.fail(start);
      const { host, port } = this.#order;
      connection.socket = connect({ host, port, noDelay: true });
      this.#listen(connection);
      this.#onRoom(connection, Math.max(1, lost.length));
    });
  }
}

process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
process.once("message", (order: LoadOrder) => {
  const generator = new Generator(order);
  tell({ kind: "ready" });
  generator.run().then(
    // It stays until its parent has read what it used, and kills it.
    (result) => tell({ kind: "end", result }),
    (error: unknown) => tell({ kind: "broken", why: (error as Error).stack ?? String(error) }),
  );
});
