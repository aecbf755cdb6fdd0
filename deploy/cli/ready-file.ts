import { randomBytes } from "node:crypto";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { z } from "zod";

const store = z.object({ url: z.string(), pid: z.int().nullable(), dir: z.string().nullable() });
const pids = z.array(z.int());

/** Where a running stack is, its example sale, and the secrets that commands on it need. */
const readyFileSchema = z.object({
  run: z.string(),
  gateway: z.url(),
  admin: z.url(),
  adminToken: z.string(),
  coordinator: z.url(),
  /** where each program tells its metrics and health, without a credential */
  metrics: z.object({ gateway: z.url(), coordinator: z.url(), workers: z.url() }),
  /** by shard; a server that ran before has neither pid nor dir */
  redis: z.array(store).min(1),
  nats: store.extend({ user: z.string().nullable(), pass: z.string().nullable() }),
  postgres: store,
  /** id of the open example sale */
  sale: z.string(),
  /** of each program: the process that was started first, then those below it */
  programs: z.object({ gateway: pids, coordinator: pids, workers: pids }),
  /** as DOORBUSTER_TICKET_KEYS takes them */
  ticketKeys: z.string(),
  /** as REDIS_SHARDS takes them */
  redisShards: z.string(),
  databaseUrl: z.string(),
});
export type ReadyFile = Readonly<z.infer<typeof readyFileSchema>>;

/** Writes the whole file or nothing; it holds secrets, so only its owner may read it. */
export const writeReadyFile = async (path: string, ready: ReadyFile): Promise<void> => {
  const fresh = `${path}.${randomBytes(4).toString("hex")}`;
  await writeFile(fresh, `${JSON.stringify(ready, undefined, 2)}\n`, { mode: 0o600 });
  try {
    await rename(fresh, path);
  } catch (error) {
    await rm(fresh, { force: true });
    throw error;
  }
};

/** @throws Error with a readable text if the file is not there or not a ready file */
export const readReadyFile = async (path: string): Promise<ReadyFile> => {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new Error(`${path} cannot be read (${(error as NodeJS.ErrnoException).code}); is a stack with --ready-file ${path} running?`, {
      cause: error,
    });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`${path} is not a ready file: ${(error as Error).message}`, { cause: error });
  }
  const parsed = readyFileSchema.safeParse(json);
  if (!parsed.success) throw new Error(`${path} is not a ready file:\n${z.prettifyError(parsed.error)}`);
  return parsed.data;
};
