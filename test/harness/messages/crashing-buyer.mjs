// A purchase handler that is killed with -9 at a chosen point of its purchase; started by tests.
//   dieAt: "prepared" | "stepped" (before submit or abort) | "ended" (after the answer)
import { Redis } from "ioredis";
import { Coordinator, Message } from "../../../dist/coordinator/messages/client/index.js";

const { coordinator, redis, gid, dieAt, query, branch, stockKey } = JSON.parse(process.argv[2]);
const die = () => process.kill(process.pid, "SIGKILL");
const store = new Redis(redis);
await new Message(gid, new Coordinator({ url: coordinator })).add(branch, { gid }).doAndSubmit(query, async (barrier) => {
  if (dieAt === "prepared") die();
  const made = await barrier.checkAdjustAmount(store, stockKey, -1);
  if (dieAt === "stepped") die();
  return made;
});
die();
