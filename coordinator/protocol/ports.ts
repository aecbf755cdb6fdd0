/**
 * The outside world of protocol code. Nothing in protocol code reads a clock, sets a timer or draws a random number
 * except through these ports, so that a seeded simulation can run the code that ships.
 */
export interface Clock {
  /** milliseconds on a clock that never goes back; its zero is arbitrary */
  monotonicMs(): number;
  /** resolves after `ms`, or at once when the signal is aborted (never rejects) */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Random {
  /** 128 bits as 22 URL-safe characters, never the same twice */
  nonce(): string;
  /** uniform in [0, 1): for jitter */
  fraction(): number;
}
