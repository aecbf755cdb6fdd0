import { fileURLToPath } from "node:url";
import { freePort, Part, until, type NatsPart, type Run } from "../../deploy/local/index.ts";

/** The coordinator program by itself: two-phase messages need neither gateway nor workers. */
export interface CoordinatorPart {
  readonly part: Part;
  readonly url: string;
}

const MAIN = fileURLToPath(new URL("../../coordinator/main.js", import.meta.url));
const WITHIN_MS = 60_000;

/** Starts a coordinator and resolves when it holds the lease of every shard. @param redis URLs by shard */
export const startCoordinator = async (run: Run, redis: readonly string[], nats: NatsPart): Promise<CoordinatorPart> => {
  const port = await freePort();
  const metricsPort = await freePort();
  const metrics = async (): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${metricsPort}/metrics`, { headers: { connection: "close" } }).catch(() => undefined);
    return (await answer?.text()) ?? "";
  };
  const part = new Part(run, {
    name: `coordinator-${port}`,
    command: process.execPath,
    args: [MAIN],
    environment: {
      REDIS_SHARDS: redis.join(","),
      NATS_URL: nats.url,
      NATS_USER: nats.user,
      NATS_PASSWORD: nats.pass,
      DOORBUSTER_COORDINATOR_PORT: String(port),
      DOORBUSTER_COORDINATOR_METRICS_PORT: String(metricsPort),
      DOORBUSTER_EXIT_WITH_PARENT: "true",
    },
    isReady: async () => (await metrics()) !== "",
    readyWithinMs: WITHIN_MS,
    stopSignal: "SIGTERM",
    stopWithinMs: WITHIN_MS,
  });
  await part.start();
  await until(
    async () => {
      const text = await metrics();
      return redis.every((_, shard) => text.includes(`doorbuster_shard_lease{shard="${shard}"} 1`));
    },
    "the leases",
    WITHIN_MS,
    50,
  );
  return { part, url: `http://127.0.0.1:${port}` };
};
