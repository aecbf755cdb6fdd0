import { startStack as startLocalStack, type Stack, type StackOptions } from "../../deploy/local/index.ts";
import { environment } from "./run.ts";

/**
 * Servers and the compiled programs (`npm run build` first), each in its own processes, for tests of the whole. The
 * test stops it.
 */
export const startStack = (options: Partial<StackOptions> = {}): Promise<Stack> =>
  startLocalStack({ environment, say: () => undefined, ...options });

export type { Stack, StackInfo, StackOptions } from "../../deploy/local/index.ts";
