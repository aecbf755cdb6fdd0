import { MessageList } from "#lua/message/message-read";
import type { z } from "zod";
import type { Messages } from "../messages.ts";
import type { MessageRecord } from "../record.ts";
import type { ApiAnswer } from "./answer.ts";
import { foundSchema, messagesPageSchema, resetAnswerSchema } from "./answer-schemas.ts";
import { BadMessage } from "./message-body.ts";
import { route, type MessageRoute } from "./message-route.ts";
import { allSchema, pageSchema, querySchema, resetSchema } from "./query-schemas.ts";
import { branchViews, messageView } from "./view.ts";

type All = z.output<typeof allSchema>;

const isWanted =
  ({ status, transType, createTimeEnd: toMs }: All) =>
  (record: MessageRecord): boolean =>
    (status === "" || record.state === status) && (transType === "" || transType === "msg") && (toMs === 0 || record.createdAtMs <= toMs);

/** dtm's calls that look at messages, or at many at once. */
export const listRoutes = (messages: Messages): readonly MessageRoute[] => {
  const page = async (asked: Parameters<Messages["page"]>[0]): Promise<ApiAnswer> => {
    const answer = await messages.page(asked);
    if (answer === undefined) throw new BadMessage("position must be empty or the next_position of the page before");
    const { messages: found, unreadable, next } = answer;
    return {
      status: 200,
      body: { transactions: found.map(messageView), next_position: next, ...(unreadable.length === 0 ? {} : { unreadable }) },
    };
  };
  const query = async ({ gid }: z.output<typeof querySchema>): Promise<ApiAnswer> => {
    const found = await messages.find(gid);
    return {
      status: 200,
      body: found === undefined ? { transaction: null, branches: [] } : { transaction: messageView(found), branches: branchViews(found) },
    };
  };
  const all = async (asked: All): Promise<ApiAnswer> => {
    const { gid, position, limit, createTimeStart: fromMs } = asked;
    if (gid === undefined) return page({ list: MessageList.messages, position, limit, fromMs, wanted: isWanted(asked) });
    const found = await messages.find(gid);
    return { status: 200, body: { transactions: found === undefined ? [] : [messageView(found)], next_position: "" } };
  };
  const dead = {
    operationId: "deadLetters",
    summary: "Messages that failed the configured number of rounds and wait for an operator; not in dtm",
    done: messagesPageSchema,
  };
  const list = { operationId: "all", summary: "Messages, shard by shard, oldest first", done: messagesPageSchema };
  const reset = {
    operationId: "resetCronTime",
    summary: "Operator: makes messages due now that are due later than so many seconds from now",
    done: resetAnswerSchema,
  };
  return [
    route("GET", "/deadLetters", dead, ["querystring", pageSchema], (asked) =>
      page({ list: MessageList.dead, ...asked, fromMs: 0, wanted: () => true }),
    ),
    route("GET", "/query", { operationId: "query", summary: "One message", done: foundSchema }, ["querystring", querySchema], query),
    route("GET", "/all", list, ["querystring", allSchema], all),
    route("GET", "/resetCronTime", reset, ["querystring", resetSchema], async ({ timeout, limit }) => {
      const { pulled, left } = await messages.pull(timeout * 1_000, limit);
      return { status: 200, body: { has_remaining: left > 0, succeed_count: pulled } };
    }),
  ];
};
