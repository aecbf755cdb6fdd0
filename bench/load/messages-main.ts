import { Coordinator, Message } from "../../coordinator/messages/client/index.ts";
import type { MessagesOrder } from "./messages.ts";

/** One service that prepares and submits messages with one empty branch, through the client's bulk calls. */
const run = async ({ url, prefix, senders, warmUpMs, measureMs }: MessagesOrder): Promise<number> => {
  const client = new Coordinator({ url, timeoutMs: 30_000 });
  const beginMs = performance.now() + warmUpMs;
  const endMs = beginMs + measureMs;
  let sent = 0;
  setTimeout(() => process.send?.({ kind: "begin" }), warmUpMs);
  const sender = async (id: number): Promise<void> => {
    for (let number = 0; performance.now() < endMs; number += 1) {
      const message = new Message(`${prefix}-${id}-${number}`, client).add("", null).set({ timeoutToFailS: 60 });
      await message.prepare("http://127.0.0.1:1/query");
      await message.submit();
      const nowMs = performance.now();
      if (nowMs >= beginMs && nowMs < endMs) sent += 1;
    }
  };
  await Promise.all(Array.from({ length: senders }, (_, id) => sender(id)));
  return sent;
};

process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
process.once("message", (order: MessagesOrder) => {
  run(order).then(
    (count) => process.send?.({ kind: "end", count, seconds: order.measureMs / 1_000 }),
    (error: unknown) => process.send?.({ kind: "broken", why: String(error) }),
  );
});
