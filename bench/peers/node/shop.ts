import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { serveShop } from "../front.ts";
import { connectionOf, QUEUE, type OrderJob } from "./queue.ts";

/**
 * The usual Node stack: Fastify, one EVAL a request (once per buyer, take one unit), a BullMQ job for each winner, whose
 * worker writes the order (worker.ts). No tickets, no rate limit, no wait for the order, and a
 * crash between the script and the job loses the win: less work than ours. (Auto-pipelining in ioredis and BullMQ was tried:
 * not faster.)
 * Arguments: port, Redis's URL.
 */
const [, , port = "", redisUrl = ""] = process.argv;

const TAKE = `
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return 1 end
if tonumber(redis.call('GET', KEYS[1]) or '0') < 1 then return 0 end
redis.call('DECR', KEYS[1])
redis.call('SADD', KEYS[2], ARGV[1])
return 1`;
const STOCK = "shop:stock";
const BUYERS = "shop:buyers";

await serveShop(Number(port), async () => {
  const redis = new Redis(redisUrl);
  const take = String(await redis.script("LOAD", TAKE));
  const queue = new Queue<OrderJob>(QUEUE, {
    connection: connectionOf(redisUrl),
    defaultJobOptions: { removeOnComplete: true },
  });
  return {
    buy: async (uid) => {
      if ((await redis.evalsha(take, 2, STOCK, BUYERS, uid)) === 0) return "sold_out";
      await queue.add("order", { uid });
      return "won";
    },
    restock: async (units) => {
      await redis.del(BUYERS);
      await redis.set(STOCK, units);
    },
  };
});
