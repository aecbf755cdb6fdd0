import * as lua from "#lua";
import type { Script } from "#lua";

const isScript = (value: unknown): value is Script => typeof value === "object" && value !== null && "sha" in value && "source" in value;

/** Every script that has a binding. */
const ALL_SCRIPTS: readonly Script[] = Object.values(lua).filter(isScript);
const isOf = (prefix: string) => (script: Script) => script.name.startsWith(prefix);

export const MESSAGE_SCRIPTS = ALL_SCRIPTS.filter(isOf("message-"));
export const BARRIER_SCRIPTS = ALL_SCRIPTS.filter(isOf("barrier-"));
/** Those of a shard's own life and stock. */
export const SHARD_SCRIPTS = ALL_SCRIPTS.filter((script) => !MESSAGE_SCRIPTS.includes(script) && !BARRIER_SCRIPTS.includes(script));
