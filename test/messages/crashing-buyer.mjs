// A purchase handler that dies between its local step and submit; started by query-back.test.ts.
import { Redis } from "ioredis";
import { Coordinator, Message } from "doorbuster/client";

const { coordinator, redis, gid, step, query, branch } = JSON.parse(process.argv[2]);
const store = new Redis(redis);
await new Message(gid, new Coordinator({ url: coordinator })).add(branch, { gid }).doAndSubmit(query, async (barrier) => {
  if (step) await barrier.checkAdjustAmount(store, `stock:${gid}`, -1);
  process.kill(process.pid, "SIGKILL");
});
