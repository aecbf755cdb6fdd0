import type { Callable } from "#program/callable-hosts";
import { beginningOf } from "#protocol/text";
import type { TopicAnswer, Topics } from "../topics.ts";
import { failed, success, type ApiAnswer } from "./answer.ts";
import { successSchema } from "./answer-schemas.ts";
import { readUrl } from "./message-body.ts";
import { route, type MessageRoute } from "./message-route.ts";
import { subscribeSchema, topicSchema, unsubscribeSchema } from "./query-schemas.ts";

const REMARK_CHARS_MOST = 500;

const topicAnswer = (answer: TopicAnswer): ApiAnswer => (answer.ok ? success : failed(409, answer.message));

/** dtm's topics: a step that names one goes to each of its subscribers. */
export const topicRoutes = (topics: Topics, callable: (url: string) => Callable): readonly MessageRoute[] => {
  const facts = (operationId: string, summary: string) => ({ operationId, summary, done: successSchema, refusals: [409] as const });
  const subscribe = facts("subscribe", "Adds a subscriber to a topic");
  const unsubscribe = facts("unsubscribe", "Takes a subscriber out of a topic");
  return [
    route("GET", "/subscribe", subscribe, ["querystring", subscribeSchema], async ({ topic, url, remark }) =>
      topicAnswer(await topics.subscribe(topic, { url: readUrl(url, "url", callable), remark: beginningOf(remark, REMARK_CHARS_MOST) })),
    ),
    route("GET", "/unsubscribe", unsubscribe, ["querystring", unsubscribeSchema], async ({ topic, url }) =>
      topicAnswer(await topics.unsubscribe(topic, url)),
    ),
    route("DELETE", "/topic/:name", facts("deleteTopic", "Deletes a topic"), ["params", topicSchema], async ({ name }) =>
      topicAnswer(await topics.delete(name)),
    ),
  ];
};
