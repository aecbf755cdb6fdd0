import { Status } from "#lua/core/codes";
import { Wakeup } from "#program/wakeup";
import type { Clock, Random } from "#protocol/ports";
import type { ShardRow } from "#protocol/row";
import type { ShardLog } from "./relay/relay-ports.ts";
import { AttemptResult } from "./attempt/attempt.ts";
import { beginEpoch } from "./attempt/begin-epoch.ts";
import { SoleServer } from "./attempt/sole-server.ts";
import type { KeeperObserver } from "./keeper-observer.ts";
import { RelaySupervisor } from "./relay-supervisor.ts";
import { findViolation, isSound, type Look } from "./invariants.ts";
import { Lease } from "./lease.ts";
import { OutboxWatch } from "./outbox-watch.ts";
import { SettingsWatch } from "./settings-watch.ts";
import type { Rows, ShardStore, StoreSettings } from "./shard-ports.ts";

export interface KeeperOptions {
  readonly shard: number;
  readonly leaseMs: number;
  readonly openMs: number;
  /** what this process calls itself, for people who look at the lease */
  readonly holder?: string;
  readonly store: ShardStore;
  readonly rows: Rows;
  readonly log: ShardLog;
  readonly settings: StoreSettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: KeeperObserver;
}

/** Postgres applies what it can reach within a second. */
export const STUCK_MS = 10_000;

const BACKOFF_FIRST_MS = 50;
const BACKOFF_MOST_MS = 3_000;

/**
 * A holder that reaches Redis but not the broker or the workers keeps everybody else out: after so many lifetimes of the
 * permission it lets another coordinator try.
 */
const GIVE_UP_LIFETIMES = 2;

/**
 * `steady`: look again at the next renewal; `again`: at once; `trouble`: after a back-off; `refused`: as `steady`, and another
 * coordinator may be better off with its broker or its user there
 */
type Turn = "steady" | "again" | "trouble" | "refused";

/** Looks after one shard while it holds the shard's lease. README.md tells the shard's life in words. */
export class Keeper {
  readonly shard: number;
  readonly #options: KeeperOptions;
  readonly #lease: Lease;
  readonly #relay: RelaySupervisor;
  readonly #wakeup: Wakeup;
  readonly #sole = new SoleServer();
  #settings: SettingsWatch;
  #outbox = new OutboxWatch();
  #isOpen = false;
  #renewedAtMs = 0;
  #looked: Look | undefined;

  constructor(options: KeeperOptions) {
    this.shard = options.shard;
    this.#options = options;
    this.#lease = new Lease({ ...options, fault: (error) => options.observer.fault(error) });
    this.#wakeup = new Wakeup(options.clock);
    this.#settings = new SettingsWatch(options.settings, options.clock);
    const { store, random } = options;
    const close = (): Promise<unknown> => store.close({ token: this.#lease.token, attempt: random.nonce() });
    this.#relay = new RelaySupervisor({ ...options, close, ended: () => this.#wakeup.wake() });
  }

  /** this process has the lease, and the shard was open when it looked last */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** this process has the shard's lease, at this very moment */
  get holdsLease(): boolean {
    return this.#lease.isHeld;
  }

  /** somebody looks after the shard: it is open here, or another coordinator has its lease */
  get isSettled(): boolean {
    return this.#isOpen || this.#lease.isRivals;
  }

  /** in words, if the outbox has not moved for so long that somebody has to look */
  get stuck(): string | undefined {
    const { stillMs } = this.#outbox;
    return stillMs < STUCK_MS ? undefined : `shard ${this.shard}: nothing of its outbox was applied for ${Math.round(stillMs / 1_000)} s`;
  }

  /** Something may have changed (a server came back): look now. */
  wake(): void {
    this.#wakeup.wake();
  }

  /** A worker has applied everything of this epoch up to `seq`. */
  heardApplied(epoch: number, seq: number): void {
    this.#relay.heardApplied(epoch, seq);
  }

  /** Runs until stopped, then gives the lease up, so that another coordinator can take over at once. */
  async run(stop: AbortSignal): Promise<void> {
    const { random, leaseMs } = this.#options;
    while (!stop.aborted) {
      let waitMs = leaseMs / 12;
      if ((await this.#lease.acquire()) && (await this.#hold(stop)) === "gave up") {
        await this.#lease.release();
        waitMs = leaseMs;
      }
      // jitter: standbys must not ask in step
      await this.#wakeup.wait(waitMs * (0.5 + random.fraction()), stop);
    }
    await this.#lease.release();
  }

  /**
   * One tenure: until the lease is lost, the process stops, or it gives up because it cannot look after the shard.
   * Losing the lease stops the relay at once, whatever else goes on.
   */
  async #hold(stop: AbortSignal): Promise<"ended" | "gave up"> {
    const { observer } = this.#options;
    const tenure = new AbortController();
    const end = (): void => tenure.abort();
    tenure.signal.addEventListener("abort", () => this.#relay.stop(), { once: true });
    stop.addEventListener("abort", end, { once: true });
    if (stop.aborted) end();
    observer.lease(true);
    this.#looked = undefined;
    this.#settings = new SettingsWatch(this.#options.settings, this.#options.clock);
    const beside = Promise.all([this.#lease.hold(tenure), this.#renewBeside(tenure.signal)]);
    await this.#live(tenure.signal);
    const gaveUp = !tenure.signal.aborted;
    end();
    await beside;
    stop.removeEventListener("abort", end);
    this.#setOpen(false, 0);
    this.#outbox = new OutboxWatch();
    observer.lease(false);
    return gaveUp ? "gave up" : "ended";
  }

  /** Looks again and again. Returns when the tenure ends, or when no look was possible for so long that another should try. */
  async #live(tenure: AbortSignal): Promise<void> {
    const { clock, random, leaseMs, openMs, observer } = this.#options;
    let backoffMs = BACKOFF_FIRST_MS;
    let lookedAtMs = clock.monotonicMs();
    while (!tenure.aborted) {
      let turn: Turn = "trouble";
      try {
        turn = await this.#turn(tenure);
        if (turn !== "refused") lookedAtMs = clock.monotonicMs();
      } catch (error) {
        if (!tenure.aborted) observer.fault(error);
      }
      if (this.#isOpen && clock.monotonicMs() - this.#renewedAtMs > openMs) this.#setOpen(false, 0);
      if (clock.monotonicMs() - lookedAtMs > openMs * GIVE_UP_LIFETIMES) return;
      if (turn !== "trouble") backoffMs = BACKOFF_FIRST_MS;
      if (turn === "steady" || turn === "refused") await this.#wakeup.wait(leaseMs / 3, tenure);
      if (turn !== "trouble") continue;
      // an open shard must be renewed in time even if the broker is away
      await this.#wakeup.wait(Math.min(backoffMs * (0.5 + random.fraction()), this.#isOpen ? leaseMs / 3 : BACKOFF_MOST_MS), tenure);
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MOST_MS);
    }
  }

  /** Renews while a look takes long (a slow broker), so that a healthy shard does not close. The row is asked each time. */
  async #renewBeside(tenure: AbortSignal): Promise<void> {
    const { store, rows, clock, leaseMs, observer } = this.#options;
    while (!tenure.aborted) {
      await clock.sleep(leaseMs / 3, tenure);
      if (tenure.aborted || !this.#isOpen || clock.monotonicMs() - this.#renewedAtMs < leaseMs / 2) continue;
      try {
        const look = { state: await store.state(), row: await rows.row() };
        // the script compares epoch and attempt
        if (look.row.halted === null && !look.row.wall && !tenure.aborted && this.#isOpen) await this.#renew(look);
      } catch (error) {
        observer.fault(error);
      }
    }
  }

  /** Looks once, and does what the look asks for. */
  async #turn(tenure: AbortSignal): Promise<Turn> {
    const { store, rows, log, clock, observer } = this.#options;
    const look: Look = { state: await store.state(), row: await rows.row() };
    const { state, row } = look;
    if (tenure.aborted) return "again";
    this.#outbox.look(look, clock.monotonicMs());
    observer.lag(state.outboxLength, this.#outbox.stillMs);
    this.#refuseViolation(look);
    if (row.halted !== null && state.open === null) {
      this.#relay.stop();
      this.#setOpen(false, row.epoch);
      observer.halted(row.halted);
      return "steady";
    }
    const isCarrying = isSound(look) && !this.#relay.hasFailed;
    // first of all: a broker that is away is no reason to stop selling
    if (isCarrying && !(await this.#renew(look))) return "again";
    const refusals = await this.#settings.refusals(`${state.replicationId} ${log.brokerId()}`, isCarrying);
    if (tenure.aborted) return "again";
    if (refusals.length > 0) return await this.#refuse(look, refusals, tenure);
    if (!isCarrying) return await this.#recover(row, tenure);
    const health = await log.verify();
    if (tenure.aborted) return "again";
    await this.#relay.tend(row, state.replicationId, health, tenure);
    return "steady";
  }

  /** @throws InvariantViolation: the permission is not prolonged any more, so that the shard closes within its lifetime */
  #refuseViolation(look: Look): void {
    const violation = findViolation(look, this.#looked);
    this.#looked = look;
    if (violation === undefined) return;
    this.#relay.stop();
    this.#setOpen(false, look.row.epoch);
    throw violation;
  }

  /**
   * Prolongs the permission to sell, only for the epoch and the attempt that the row named a moment ago, and counted from
   * before the row was read.
   */
  async #renew({ state, row }: Look): Promise<boolean> {
    const { store, clock, leaseMs, openMs } = this.#options;
    const sentAtMs = clock.monotonicMs();
    const { epoch, attempt } = row;
    const { status } = await store.renew({ token: this.#lease.token, leaseMs, untilMs: state.nowMs + openMs, epoch, attempt });
    if (status === Status.ok) this.#renewedAtMs = sentAtMs;
    this.#setOpen(status === Status.ok, row.epoch);
    return status === Status.ok;
  }

  /** The stores must not be sold on. What was sold is still carried; the next epoch begins when they are set right. */
  async #refuse({ state, row }: Look, refusals: readonly string[], tenure: AbortSignal): Promise<Turn> {
    const { store, log, random, observer } = this.#options;
    if (state.open !== null) await store.close({ token: this.#lease.token, attempt: random.nonce() });
    this.#setOpen(false, row.epoch);
    observer.halted(refusals.join("; "));
    if (!this.#relay.hasFailed && state.epoch === row.epoch) await this.#relay.tend(row, state.replicationId, await log.verify(), tenure);
    return "refused";
  }

  async #recover(row: ShardRow, tenure: AbortSignal): Promise<Turn> {
    const { clock, observer } = this.#options;
    this.#relay.stop();
    this.#setOpen(false, row.epoch);
    let result: AttemptResult = AttemptResult.fault;
    let epoch = row.epoch;
    try {
      const attempted = await beginEpoch(
        {
          ...this.#options,
          token: this.#lease.token,
          sole: this.#sole,
          step: (phase, restored) => observer.attempting(phase, restored),
        },
        tenure,
      );
      result = attempted.result;
      if (attempted.result === AttemptResult.logFull) await this.#relay.makeRoom(row);
      // a server that lost its data lost the lease with it, and gives it to whoever asks first
      if (attempted.result === AttemptResult.notHolder && !tenure.aborted && (await this.#lease.acquire())) return "again";
      if (attempted.result !== AttemptResult.opened) return "trouble";
      epoch = attempted.epoch;
      if (tenure.aborted) return "again";
      this.#renewedAtMs = clock.monotonicMs();
      this.#setOpen(true, epoch);
      this.#relay.begin(epoch, attempted.replicationId, attempted.marker);
      return "again";
    } finally {
      observer.attempted(result, epoch);
    }
  }

  #setOpen(isOpen: boolean, epoch: number): void {
    this.#isOpen = isOpen;
    this.#options.observer.open(isOpen, epoch);
  }
}
