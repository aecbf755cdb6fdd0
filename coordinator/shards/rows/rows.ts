import { createInbox, type NatsConnection } from "nats";
import { restoreProgressSchema, shardRowSchema } from "#protocol/requests";
import { Request } from "#protocol/subjects";
import type { Restored, Rows } from "../shard-ports.ts";
import { readAnswer } from "./answer.ts";
import { ask } from "./requests.ts";

/** A chunk of a restore takes milliseconds; a large sale takes long, so the time-out is on progress, not on duration. */
const RESTORE_PROGRESS_MS = 5_000;

/** The shard's row, through the workers. */
export const createRows = (connection: NatsConnection, shard: number): Rows => ({
  row: () => ask(connection, Request.row, { shard }, shardRowSchema),

  restore: async (request, stop, progress): Promise<Restored> => {
    const inbox = createInbox();
    const answers = connection.subscribe(inbox);
    const end = (): void => answers.unsubscribe();
    let timer = setTimeout(end, RESTORE_PROGRESS_MS);
    stop.addEventListener("abort", end, { once: true });
    try {
      connection.publish(Request.restore, JSON.stringify({ shard, ...request }), { reply: inbox });
      for await (const message of answers) {
        if (message.headers?.code === 503) throw new Error("no worker to restore the shard");
        const answer = readAnswer(Request.restore, restoreProgressSchema, message.data);
        if (!answer.ok) return answer.code;
        progress(answer.value);
        if (answer.value.done) return "done";
        clearTimeout(timer);
        timer = setTimeout(end, RESTORE_PROGRESS_MS);
      }
      throw new Error(`no progress of the restore for ${RESTORE_PROGRESS_MS} ms`);
    } finally {
      clearTimeout(timer);
      stop.removeEventListener("abort", end);
      answers.unsubscribe();
    }
  },
});
