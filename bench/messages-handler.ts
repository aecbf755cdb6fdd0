import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Redis } from "ioredis";
import { Coordinator, Message } from "../coordinator/client/index.ts";

/**
 * The counterpart of dtm's benchmark handler (bench/peers/dtm): one message a request with a new gid and an empty
 * branch, the stock taken by checkAdjustAmount. dtm's has no query URL; ours must, and it is never asked here.
 */
interface Arguments {
  readonly coordinator: string;
  readonly redis: string;
  readonly stockKey: string;
}

const { coordinator, redis, stockKey } = JSON.parse(process.argv[2] ?? "{}") as Arguments;
const client = new Coordinator({ url: coordinator });
const store = new Redis(redis, { enableAutoPipelining: true });
const PREFIX = `bench-${process.pid}-${Math.random().toString(36).slice(2)}`;
const DONE = JSON.stringify({ dtm_result: "SUCCESS" });
const NONE_LEFT = JSON.stringify({ dtm_result: "FAILURE" });
let next = 0;

const server = createServer((request, response) => {
  request.resume();
  next += 1;
  new Message(`${PREFIX}-${next}`, client)
    .add("", null)
    .set({ timeoutToFailS: 60 })
    .doAndSubmit("http://127.0.0.1:1/query", (barrier) => barrier.checkAdjustAmount(store, stockKey, -1))
    .then(
      ({ status }) => {
        const won = status === "submitted";
        response.writeHead(won ? 200 : 409, { "content-type": "application/json" }).end(won ? DONE : NONE_LEFT);
      },
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
});
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});
process.stdin
  .on("end", () => {
    server.close();
    server.closeAllConnections();
    store.disconnect();
    void client.close();
  })
  .resume();
