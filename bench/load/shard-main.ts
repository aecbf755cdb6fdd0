import { Redis } from "ioredis";
import { Decision, reserve, Status } from "#lua";
import type { ShardMessage, ShardOrder } from "./shard.ts";

/** Calls a shard's `reserve` as a gateway process does, with nothing in front: batches of one size, some calls on their way. */
const tell = (message: ShardMessage): void => void process.send?.(message);

process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
process.once("message", (order: ShardOrder) => {
  const { url, saleId, prefix, batch, calls, warmUpMs, measureMs } = order;
  const redis = new Redis(url);
  const beginMs = performance.now() + warmUpMs;
  const endMs = beginMs + measureMs;
  let next = 0;
  let decided = 0;
  setTimeout(() => tell({ kind: "begin" }), warmUpMs);
  const caller = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const purchases = Array.from({ length: batch }, () => `${prefix}${(next += 1)}`);
      const answer = await reserve(redis, { shard: 0, saleId, outboxLimit: Number.MAX_SAFE_INTEGER, purchases });
      if (answer.status !== Status.ok) throw new Error(`the shard answered ${answer.status}`);
      if (answer.decisions.some(({ decision }) => decision !== Decision.won)) throw new Error("not every buyer won");
      const nowMs = performance.now();
      if (nowMs >= beginMs && nowMs < endMs) decided += batch;
    }
  };
  Promise.all(Array.from({ length: calls }, caller)).then(
    () => tell({ kind: "end", count: decided, seconds: measureMs / 1_000 }),
    (error: unknown) => tell({ kind: "broken", why: String(error) }),
  );
});
