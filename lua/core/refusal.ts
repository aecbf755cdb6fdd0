import { Status } from "./codes.ts";

/** What a server that refuses still does. */
interface Kind {
  /** scripts that only read run there */
  readonly reads: boolean;
}

const WRITES_ONLY: Kind = { reads: true };
const EVERYTHING: Kind = { reads: false };

/**
 * First words of the errors by which Redis says that it does not begin a command: nothing ran (`processCommand` of server.c,
 * `scriptPrepareForRun` of script.c, `getNodeByQuery` of cluster.c, Redis 7.0). All other errors, a lost connection above
 * all, leave it unknown whether something did.
 */
const KINDS: Readonly<Record<string, Kind>> = {
  /** `maxmemory` is reached, and the script has no `allow-oom` */
  OOM: WRITES_ONLY,
  /** the append-only file or a snapshot cannot be written */
  MISCONF: WRITES_ONLY,
  /** fewer replicas than `min-replicas-to-write` */
  NOREPLICAS: WRITES_ONLY,
  /** it is a replica: most bindings have an answer of their own for that (`onReplica`) */
  READONLY: WRITES_ONLY,
  /** its data is still being read */
  LOADING: EVERYTHING,
  /** a replica without its primary, which must not serve old data */
  MASTERDOWN: EVERYTHING,
  /** a script of somebody runs too long */
  BUSY: EVERYTHING,
  CLUSTERDOWN: EVERYTHING,
  /** the slot is on another node, or moves there at this moment */
  MOVED: EVERYTHING,
  ASK: EVERYTHING,
  TRYAGAIN: EVERYTHING,
  NOAUTH: EVERYTHING,
  NOPERM: EVERYTHING,
};

/** Redis writes the place behind an error that a command met inside a script: something may have run before. */
const INSIDE = / script: [0-9a-f]{40}, on /;

export interface ServerRefusal extends Kind {
  /** the error's first word */
  readonly word: string;
}

/** @returns undefined if the error does not prove that nothing ran */
export const refusalIn = (error: unknown): ServerRefusal | undefined => {
  if (!(error instanceof Error) || INSIDE.test(error.message)) return undefined;
  const [word = ""] = error.message.split(" ", 1);
  const kind = Object.hasOwn(KINDS, word) ? KINDS[word] : undefined;
  return kind === undefined ? undefined : { ...kind, word };
};

/** What a refused call answers; `by`: the error's first word. */
export type Refused =
  /** writes are refused, and what stands can be read */
  | { readonly status: typeof Status.refused; readonly by: string }
  /** nothing can be asked there at the moment */
  | { readonly status: typeof Status.recovering; readonly by: string };

/** For `.catch`: the answer to an error that proves that nothing ran. Any other error stays one. */
export const asRefused = (error: unknown): Refused => {
  const refusal = refusalIn(error);
  if (refusal === undefined) throw error;
  const { word: by, reads } = refusal;
  return { status: reads ? Status.refused : Status.recovering, by };
};
