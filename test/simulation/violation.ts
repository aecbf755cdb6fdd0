/** A broken promise, or something that may never be seen. */
export interface Violation {
  readonly kind: string;
  readonly detail: string;
  readonly atMs: number;
}
