import { MessageChannel } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { toLines, type Chunk } from "./comparison-thread.ts";
import { sender } from "./comparison-pool.ts";

const chunk = (shard: number): Chunk => ({ kind: "entries", shard, lines: toLines([`of shard ${shard}`]) });

describe("the way to the comparing thread", () => {
  it("lets nobody wait for ever when many shards are read at once", async () => {
    const { port1, port2 } = new MessageChannel();
    const shards = 16;
    const chunks = 20;
    let unread = 0;
    let most = 0;
    let taken = 0;
    port2.on("message", () => {
      taken += 1;
      unread -= 1;
      port2.postMessage("taken");
    });
    const send = sender(port1);
    const feed = async (shard: number): Promise<void> => {
      for (let n = 0; n < chunks; n++) {
        await send(chunk(shard));
        unread += 1;
        most = Math.max(most, unread);
      }
    };
    await Promise.all(Array.from({ length: shards }, (_, shard) => feed(shard)));
    port1.close();
    expect(taken).toBeGreaterThanOrEqual(shards * chunks - 8);
    expect(most).toBeLessThanOrEqual(8);
  });

  it("lets everybody through when the thread is gone", async () => {
    const { port1, port2 } = new MessageChannel();
    const send = sender(port1);
    const waiting = Array.from({ length: 12 }, (_, shard) => send(chunk(shard)));
    port2.close();
    await Promise.all(waiting);
  });
});
