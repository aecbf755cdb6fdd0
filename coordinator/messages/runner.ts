import type { PutOff } from "#lua/message/message-claim";
import type { Clock, Random } from "#protocol/ports";
import { applyEvent, type AppliedEvent } from "./apply.ts";
import type { Callable } from "#program/callable-hosts";
import { HostGate } from "#program/host-gate";
import { decide, Effect, Verdict, type MessageEvent, type MessagePolicy } from "./machine.ts";
import type { Answered, Caller, Leases, MessageStore, MessageWatch } from "./message-ports.ts";
import { CorruptMessage, MessageState, type MessageRecord } from "./record.ts";

const PURGE_EVERY_MS = 1_000;
const PURGE_BATCH = 1_000;
/** Messages that find no room at their host come back the later the longer it has had none, but not later than this. */
const PUT_OFF_MOST_MS = 30_000;
const ALERT_TRIES = 3;
/** A stopping process waits so long for calls on the wire; a longer one is repeated by whoever takes over. */
const DRAIN_MS = 3_000;
/** A call that succeeded must be noted, or it is repeated: the store is tried for about as long as a claim is held. */
const NOTE_TRIES = 6;
const NOTE_AGAIN_MS = 100;

export interface RunnerPorts {
  readonly store: MessageStore;
  readonly caller: Caller;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly random: Random;
  readonly watch: MessageWatch;
  readonly callable: (url: string) => Callable;
}

export interface RunnerOptions {
  readonly policy: MessagePolicy;
  /** between two looks at what is due */
  readonly pollMs: number;
  /** messages taken by one look */
  readonly batch: number;
  /** a taken message is due again after this, should its taker die */
  readonly holdMs: number;
  /** calls that run at one host at a time, and messages that wait for one */
  readonly hostCalls: number;
  readonly hostWaiting: number;
  /** messages worked on at a time */
  readonly inFlightMost: number;
  /** time-out of a call whose message says none */
  readonly requestTimeoutMs: number;
  /** URL that gets a POST for each dead letter; empty = none */
  readonly alertUrl: string;
}

/**
 * Delivers messages and asks back, for the shards whose lease this process holds. All it remembers is what is on its
 * way right now: what it drops, for whatever reason, is still due in the store and comes back after `holdMs`.
 */
export class MessageRunner {
  readonly #ports: RunnerPorts;
  readonly #options: RunnerOptions;
  readonly #gate: HostGate;
  readonly #inFlight = new Map<string, Promise<void>>();
  readonly #reading = new Set<string>();
  #hasLeft = false;

  constructor(ports: RunnerPorts, options: RunnerOptions) {
    this.#ports = ports;
    this.#options = options;
    this.#gate = new HostGate({ most: options.hostCalls, mostWaiting: options.hostWaiting, nowMs: () => ports.clock.monotonicMs() });
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Sweeps the shards until `stop`, then waits a moment for the calls on the wire; what they then say is not noted any more. */
  async run(shards: readonly number[], stop: AbortSignal): Promise<void> {
    await Promise.all(shards.map((shard) => this.#sweep(shard, stop)));
    const drained = new AbortController();
    const all = Promise.all(this.#inFlight.values()).then(() => drained.abort());
    await Promise.race([all, this.#ports.clock.sleep(DRAIN_MS, drained.signal)]);
    this.#hasLeft = true;
  }

  /** Does at once what a call of the API asked for, if this process may; otherwise the lease holder's sweep does. */
  kick(shard: number, gid: string, applied: AppliedEvent): void {
    if (applied.record !== undefined && this.#ports.leases.holds(shard)) this.#start(shard, gid, applied.record, applied.effects);
  }

  async #sweep(shard: number, stop: AbortSignal): Promise<void> {
    const { clock, leases, store, watch } = this.#ports;
    let purgeAtMs = 0;
    let putOff: PutOff | undefined;
    while (!stop.aborted) {
      let more = false;
      if (leases.holds(shard) && this.#inFlight.size < this.#options.inFlightMost) {
        try {
          const { gids, dueAgainMs } = await store.claim(shard, this.#options.batch, this.#options.holdMs, putOff);
          putOff = undefined;
          more = gids.length === this.#options.batch;
          putOff = { dueAgainMs, laterMs: await this.#take(shard, gids) };
          if (clock.monotonicMs() >= purgeAtMs) {
            purgeAtMs = clock.monotonicMs() + PURGE_EVERY_MS;
            while ((await store.purge(shard, PURGE_BATCH)) === PURGE_BATCH && !stop.aborted);
          }
        } catch (error) {
          watch.troubled(shard, "sweep", error);
        }
      }
      if (!more) await clock.sleep(this.#options.pollMs, stop);
    }
  }

  /** @returns those for which their host had no room, and how much later they shall come back */
  async #take(shard: number, claimed: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const laterMs = new Map<string, number>();
    const gids = claimed.filter((gid) => !this.#inFlight.has(gid));
    // a kick that began and ended while they are read would make what was read old, and its calls be repeated
    for (const gid of gids) this.#reading.add(gid);
    try {
      const messages = await this.#ports.store.read(shard, gids);
      for (const [i, message] of messages.entries()) {
        const gid = gids[i] as string;
        this.#reading.delete(gid);
        if (message instanceof CorruptMessage) this.#ports.watch.troubled(shard, `message ${gid}`, message);
        if (message === undefined || message instanceof CorruptMessage) continue;
        const { effects } = decide(this.#options.policy, message.record, { type: "due" }, 0);
        const fullForMs = this.#gate.fullForMs(this.#firstHost(message.record));
        if (fullForMs === undefined) this.#start(shard, gid, message.record, effects);
        else laterMs.set(gid, Math.round(Math.min(fullForMs, PUT_OFF_MOST_MS)));
      }
    } finally {
      for (const gid of gids) this.#reading.delete(gid);
    }
    return laterMs;
  }

  #start(shard: number, gid: string, record: MessageRecord, effects: readonly Effect[]): void {
    if (effects.length === 0 || this.#inFlight.has(gid) || this.#reading.has(gid) || this.#inFlight.size >= this.#options.inFlightMost)
      return;
    if (this.#gate.fullForMs(this.#firstHost(record)) !== undefined) return;
    const work = this.#work(shard, gid, record, effects)
      .catch((error: unknown) => this.#ports.watch.troubled(shard, `message ${gid}`, error))
      .finally(() => this.#inFlight.delete(gid));
    this.#inFlight.set(gid, work);
  }

  #firstHost(record: MessageRecord): string {
    const next = record.definition.branches.find((branch, i) => branch.url !== "" && record.branchDoneAtMs[i] === 0);
    return hostOf(record.state === MessageState.prepared ? record.definition.queryUrl : (next?.url ?? ""));
  }

  async #work(shard: number, gid: string, first: MessageRecord, effects: readonly Effect[]): Promise<void> {
    let record = first;
    let todo = effects;
    while (todo.length > 0) {
      let applied: AppliedEvent | undefined;
      if (todo.includes(Effect.alert)) await this.#alert(shard, gid, record);
      else if (todo.includes(Effect.query)) applied = await this.#query(shard, gid, record);
      else
        applied = record.definition.concurrent
          ? await this.#deliverAtOnce(shard, gid, record)
          : await this.#deliverInOrder(shard, gid, record);
      if (applied?.record === undefined) return;
      record = applied.record;
      todo = applied.effects;
    }
  }

  /** @returns undefined if the lease was lost before the call could start */
  async #query(shard: number, gid: string, record: MessageRecord): Promise<AppliedEvent | undefined> {
    const url = withQuery(record.definition.queryUrl, { gid, trans_type: "msg", branch_id: "00", op: "msg" });
    const answered = await this.#call(shard, "query", record, url, "");
    return answered === undefined
      ? undefined
      : this.#note(shard, gid, record, { type: "queryAnswered", ...answered, fraction: this.#ports.random.fraction() });
  }

  async #deliverInOrder(shard: number, gid: string, first: MessageRecord): Promise<AppliedEvent | undefined> {
    let record = first;
    let indexes: number[] = [];
    for (const [i, branch] of first.definition.branches.entries()) {
      if (record.branchDoneAtMs[i] !== 0) continue;
      if (branch.url !== "") {
        const answered = await this.#branch(shard, gid, record, i);
        if (answered === undefined) return undefined;
        if (answered.verdict !== Verdict.success) {
          if (indexes.length > 0) await this.#note(shard, gid, record, { type: "delivered", indexes });
          return this.#note(shard, gid, record, { type: "roundFailed", ...answered, fraction: this.#ports.random.fraction() });
        }
      }
      indexes.push(i);
      if (branch.url === "") continue;
      const applied = await this.#note(shard, gid, record, { type: "delivered", indexes });
      indexes = [];
      if (applied.record?.state !== MessageState.submitted) return applied;
      record = applied.record;
    }
    return this.#note(shard, gid, record, { type: "delivered", indexes });
  }

  async #deliverAtOnce(shard: number, gid: string, record: MessageRecord): Promise<AppliedEvent | undefined> {
    const failed: Answered[] = [];
    let lost = false;
    let noted: Promise<AppliedEvent> | undefined;
    const note = (event: MessageEvent): Promise<AppliedEvent> => {
      const before = noted;
      noted = (async () => this.#note(shard, gid, (await before)?.record ?? record, event))();
      return noted;
    };
    await Promise.all(
      record.definition.branches.map(async (branch, i) => {
        if (record.branchDoneAtMs[i] !== 0) return;
        const answered = branch.url === "" ? { verdict: Verdict.success, reason: "" } : await this.#branch(shard, gid, record, i);
        if (answered === undefined) lost = true;
        else if (answered.verdict === Verdict.success) await note({ type: "delivered", indexes: [i] });
        else failed.push(answered);
      }),
    );
    const worst = failed.find((answered) => answered.verdict !== Verdict.ongoing) ?? failed[0];
    if (worst !== undefined) return note({ type: "roundFailed", ...worst, fraction: this.#ports.random.fraction() });
    if (lost) return undefined;
    return noted ?? note({ type: "delivered", indexes: [] });
  }

  #branch(shard: number, gid: string, record: MessageRecord, index: number): Promise<Answered | undefined> {
    const branch = record.definition.branches[index];
    if (branch === undefined) throw new Error(`message ${gid} has no branch ${index}`);
    const url = withQuery(branch.url, { gid, trans_type: "msg", branch_id: branch.branchId, op: "action" });
    return this.#call(shard, "branch", record, url, branch.payload);
  }

  async #call(shard: number, kind: "branch" | "query", record: MessageRecord, url: string, body: string): Promise<Answered | undefined> {
    const { caller, leases, callable, watch } = this.#ports;
    const { branchHeaders, requestTimeoutMs } = record.definition;
    const may = callable(url);
    if (!may.ok) return { verdict: Verdict.error, reason: `${url} ${may.why}` };
    return this.#gate.run(may.url.host, async () => {
      // after the wait for the turn, right before the start: a lease that ended meanwhile is another coordinator's
      if (!leases.holds(shard)) return undefined;
      const answered = await caller.call({
        method: body === "" ? "GET" : "POST",
        url,
        headers: { "content-type": "application/json", ...branchHeaders },
        body,
        timeoutMs: requestTimeoutMs || this.#options.requestTimeoutMs,
      });
      if (this.#hasLeft) return undefined;
      watch.called(kind, answered.verdict);
      return answered;
    });
  }

  /** Stores what a call came to; a store that is away for a moment does not make the call be repeated. */
  async #note(shard: number, gid: string, record: MessageRecord, event: MessageEvent): Promise<AppliedEvent> {
    const { store, clock, watch } = this.#ports;
    for (let tried = 1; ; tried += 1) {
      try {
        return await applyEvent(store, this.#options.policy, shard, gid, event, record);
      } catch (error) {
        if (tried === NOTE_TRIES) throw error;
        watch.troubled(shard, `message ${gid}: ${event.type}`, error);
        await clock.sleep(NOTE_AGAIN_MS * 2 ** tried);
      }
    }
  }

  async #alert(shard: number, gid: string, record: MessageRecord): Promise<void> {
    const { caller, clock, watch } = this.#ports;
    watch.dead(shard, gid, record);
    const { alertUrl, requestTimeoutMs } = this.#options;
    if (alertUrl === "") return;
    const open = record.definition.branches.find((_, i) => record.branchDoneAtMs[i] === 0);
    const branch = record.state === MessageState.prepared ? record.definition.queryUrl : (open?.url ?? "");
    const body = JSON.stringify({ gid, status: record.state, branch, error: record.reason, retry_count: record.failures });
    for (let tried = 1; tried <= ALERT_TRIES; tried += 1) {
      const headers = { "content-type": "application/json" };
      const answered = await caller.call({ method: "POST", url: alertUrl, headers, body, timeoutMs: requestTimeoutMs });
      if (answered.verdict === Verdict.success) return;
      watch.troubled(shard, `alert hook about ${gid}`, new Error(answered.reason));
      await clock.sleep(NOTE_AGAIN_MS * 2 ** tried);
    }
  }
}

const hostOf = (url: string): string => (URL.canParse(url) ? new URL(url).host : "");

const withQuery = (url: string, query: Readonly<Record<string, string>>): string => {
  const added = new URLSearchParams(query).toString();
  const hash = url.indexOf("#");
  const base = hash < 0 ? url : url.slice(0, hash);
  return `${base}${base.includes("?") ? "&" : "?"}${added}`;
};
