import { Status } from "#lua/core/codes";
import type { Clock, Random } from "#protocol/ports";
import { holderToken } from "#protocol/shard-facts";
import type { ShardStore } from "./shard-ports.ts";

export interface LeaseOptions {
  readonly leaseMs: number;
  /** what this process calls itself, for people */
  readonly holder?: string;
  readonly store: Pick<ShardStore, "acquireLease" | "releaseLease">;
  readonly clock: Clock;
  readonly random: Random;
  readonly fault: (error: unknown) => void;
}

/**
 * The right to look after a shard. For liveness only: two processes that both believe they have it do no harm.
 * Named by a nonce of this process and shard, behind which stands who that is.
 */
export class Lease {
  readonly token: string;
  readonly #options: LeaseOptions;
  #heldUntilMs = 0;
  #isRivals = false;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.token = holderToken(options.random.nonce(), options.holder ?? "");
  }

  /** another coordinator had it when this one asked last */
  get isRivals(): boolean {
    return this.#isRivals;
  }

  /** true until what was last asked for, counted from before asking, has run out: nobody else can have it yet */
  get isHeld(): boolean {
    return this.#heldUntilMs > this.#options.clock.monotonicMs();
  }

  /** Takes the lease, or prolongs it. @returns whether this process has it; false too if the server is away */
  async acquire(): Promise<boolean> {
    const { store, clock, leaseMs, fault } = this.#options;
    const sentAtMs = clock.monotonicMs();
    try {
      const { status } = await store.acquireLease(this.token, leaseMs);
      this.#isRivals = status !== Status.ok;
      if (this.#isRivals) this.#heldUntilMs = 0;
      else this.#heldUntilMs = sentAtMs + leaseMs;
    } catch (error) {
      this.#isRivals = false;
      fault(error);
    }
    return this.#heldUntilMs > clock.monotonicMs();
  }

  /** Prolongs the lease three times in its life until `tenure` ends; ends it when the lease is lost, or may be. */
  async hold(tenure: AbortController): Promise<void> {
    const { clock, leaseMs } = this.#options;
    let waitMs = leaseMs / 3;
    while (!tenure.signal.aborted) {
      await clock.sleep(waitMs, tenure.signal);
      if (tenure.signal.aborted) return;
      const before = this.#heldUntilMs;
      if (before <= clock.monotonicMs() || !(await this.acquire())) tenure.abort();
      waitMs = this.#heldUntilMs > before ? leaseMs / 3 : leaseMs / 12;
    }
  }

  async release(): Promise<void> {
    this.#heldUntilMs = 0;
    await this.#options.store.releaseLease(this.token).catch(this.#options.fault);
  }
}
