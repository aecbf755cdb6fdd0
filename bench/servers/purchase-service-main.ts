import { Redis } from "ioredis";
import uWS from "uWebSockets.js";
import { Coordinator, Message } from "../../coordinator/messages/client/index.ts";
import type { PurchaseServiceOptions } from "./purchase-service.ts";

/**
 * The counterpart of dtm's benchmark handler (bench/peers/dtm): one message a request with a new gid and an empty
 * branch, the stock taken by checkAdjustAmount. dtm's has no query URL; ours must, and it is never asked here. It runs
 * in uWebSockets.js, as the services of our users do; dtm's runs in gin.
 */
const [, , port = "", options = "{}"] = process.argv;
const { coordinator, redis, stockKey } = JSON.parse(options) as PurchaseServiceOptions;
const client = new Coordinator({ url: coordinator });
const store = new Redis(redis);
const PREFIX = `bench-${process.pid}-${Math.random().toString(36).slice(2)}`;
const DONE = JSON.stringify({ dtm_result: "SUCCESS" });
const NONE_LEFT = JSON.stringify({ dtm_result: "FAILURE" });
let next = 0;

const app = uWS.App();
app.post("/buy", (response) => {
  let isGone = false;
  response.onAborted(() => {
    isGone = true;
  });
  const answer = (status: string, body: string): void => {
    if (!isGone) response.cork(() => response.writeStatus(status).writeHeader("content-type", "application/json").end(body));
  };
  next += 1;
  new Message(`${PREFIX}-${next}`, client)
    .add("", null)
    .set({ timeoutToFailS: 60 })
    .doAndSubmit("http://127.0.0.1:1/query", (barrier) => barrier.checkAdjustAmount(store, stockKey, -1))
    .then(
      ({ status }) => (status === "submitted" ? answer("200 OK", DONE) : answer("409 Conflict", NONE_LEFT)),
      (error: unknown) => answer("500 Internal Server Error", String(error)),
    );
});
app.get("/healthz", (response) => void response.end("ok"));
app.listen("127.0.0.1", Number(port), (socket) => {
  if (socket === false) throw new Error(`cannot listen on ${port}`);
});
process.stdin
  .on("end", () => {
    app.close();
    store.disconnect();
    void client.close();
  })
  .resume();
