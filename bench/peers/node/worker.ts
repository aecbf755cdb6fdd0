import { Worker } from "bullmq";
import { Pool } from "pg";
import { connectionOf, ORDERS_TABLE, QUEUE, type OrderJob } from "./queue.ts";

/** Writes the orders of the usual Node stack. Arguments: Redis's URL, Postgres's URL. */
const [, , redisUrl = "", databaseUrl = ""] = process.argv;
/** Jobs at once: the usual advice for work that waits for a database. */
const CONCURRENCY = 50;

const pool = new Pool({ connectionString: databaseUrl, max: 10 });
await pool.query(ORDERS_TABLE);
const worker = new Worker<OrderJob>(
  QUEUE,
  async (job) => {
    await pool.query("INSERT INTO orders (uid) VALUES ($1) ON CONFLICT DO NOTHING", [job.data.uid]);
  },
  { connection: connectionOf(redisUrl), concurrency: CONCURRENCY },
);
worker.on("error", (error) => process.stderr.write(`${error.message}\n`));
process.stdin.on("end", () => process.kill(process.pid, "SIGKILL")).resume();
