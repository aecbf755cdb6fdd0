// A service that takes part in two-phase messages, in a process of its own; started by tests, which kill it with -9.
//   dieAt: "branch:before" | "branch:after" | "query:before" | "query:after" its step, at the first call | ""
import { createServer } from "node:http";
import { Redis } from "ioredis";
import { Barrier, statusOf } from "../../dist/coordinator/messages/client/index.js";

const { port, redis, soldKey, askedKey, dieAt } = JSON.parse(process.argv[2]);
const store = new Redis(redis);
const pass = (point) => {
  if (point === dieAt) process.kill(process.pid, "SIGKILL");
};

const steps = {
  branch: (barrier) => barrier.checkAdjustAmount(store, soldKey, 1),
  query: async (barrier) => {
    const step = await barrier.queryPrepared(store);
    await store.incr(askedKey);
    return step;
  },
};

const server = createServer((request, response) => {
  const name = request.url.startsWith("/query") ? "query" : "branch";
  request.resume();
  pass(`${name}:before`);
  steps[name](Barrier.fromRequest(request.url)).then(
    (step) => {
      pass(`${name}:after`);
      response.writeHead(statusOf(step)).end();
    },
    () => response.writeHead(500).end(),
  );
});
server.listen(port, "127.0.0.1", () => process.stdout.write("listening\n"));
