import { Redis } from "ioredis";
import { Coordinator } from "../../coordinator/messages/client/index.ts";
import { startPurchaseService } from "./services.ts";

/** The purchase handler as its own process, so that it can die. Arguments: JSON; prints its URL. */
interface Arguments {
  readonly coordinator: string;
  readonly redis: string;
  readonly orderUrl: string;
  readonly queryUrl: string;
  /** the buyer at whom the process kills itself with -9, between the deduction and the submit */
  readonly dieAt?: string;
}

const { coordinator, redis, orderUrl, queryUrl, dieAt } = JSON.parse(process.argv[2] ?? "{}") as Arguments;
const client = new Coordinator({ url: coordinator });
const store = new Redis(redis);
const service = await startPurchaseService({
  coordinator: client,
  redis: store,
  orderUrl,
  queryUrl,
  afterDeduction: async ({ uid }) => {
    if (uid === dieAt) process.kill(process.pid, "SIGKILL");
  },
});
process.stdout.write(`${service.url}\n`);
// whoever started this process holds its standard input open; its end means that they are gone
process.stdin
  .on("end", () => {
    void service.stop();
    void client.close();
    store.disconnect();
  })
  .resume();
