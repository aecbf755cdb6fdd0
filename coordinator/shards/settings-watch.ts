import type { Clock } from "#protocol/ports";
import type { StoreSettings } from "./shard-ports.ts";

/** A setting that was changed on a running server is found this soon. */
const LOOK_EVERY_MS = 10_000;

/** Whether the stores that a shard is on may be sold on, looked at again whenever one of them is another run of its server. */
export class SettingsWatch {
  readonly #settings: StoreSettings;
  readonly #clock: Clock;
  #servers = "";
  #lookedAtMs = 0;
  #refusals: readonly string[] = [];

  constructor(settings: StoreSettings, clock: Clock) {
    this.#settings = settings;
    this.#clock = clock;
  }

  /**
   * @param servers names the run of each server
   * @param isCarrying the shard is open and goes on; otherwise an epoch would begin on what is found, so it is looked anew
   * @returns why the shard must not sell, in words; empty if it may
   * @throws if a store does not answer
   */
  async refusals(servers: string, isCarrying: boolean): Promise<readonly string[]> {
    const nowMs = this.#clock.monotonicMs();
    // what was refused may be mended at any moment
    const isDue = !isCarrying || servers !== this.#servers || this.#refusals.length > 0 || nowMs - this.#lookedAtMs >= LOOK_EVERY_MS;
    if (!isDue) return this.#refusals;
    this.#refusals = await this.#settings.refusals();
    this.#servers = servers;
    this.#lookedAtMs = nowMs;
    return this.#refusals;
  }
}
