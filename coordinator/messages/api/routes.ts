import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Registry } from "prom-client";
import { MessageList } from "#lua/message/message-read";
import type { Callable } from "#program/callable-hosts";
import type { MessageEvent } from "../machine.ts";
import { Waited, type Messages } from "../messages.ts";
import { MessageState, type MessageRecord } from "../record.ts";
import type { TopicAnswer, Topics } from "../topics.ts";
import type { Random } from "#protocol/ports";
import { answerTo, DtmResult, failed, success, type ApiAnswer } from "./answer.ts";
import {
  BadMessage,
  readCount,
  readFields,
  readGid,
  readMessage,
  readNamed,
  readParameter,
  readSubscriberUrl,
  readTopicName,
} from "./message-body.ts";
import type { MessageMetrics } from "./metrics.ts";
import { branchViews, messageView } from "./view.ts";

const BODY_BYTES_MOST = 1 << 20;
/** Longest that a submit with wait_result is held; then it hears ONGOING, which is true. */
const WAIT_RESULT_MOST_MS = 30_000;
const PAGE_MOST = 1_000;
/** Calls of one bulk request: what one event loop turn of a busy client gathers. */
const BULK_MOST = 256;

export interface MessageApi {
  readonly messages: Messages;
  readonly topics: Topics;
  readonly callable: (url: string) => Callable;
  readonly random: Random;
  readonly metrics: MessageMetrics;
  readonly registry: Registry;
  readonly version: string;
  /** resolves when the stores can be asked, or should have been able to be */
  readonly started: () => Promise<void>;
  /** callers must show it; undefined = open */
  readonly token: string | undefined;
  /** called with what was answered 500 */
  readonly fault: (error: unknown) => void;
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Compares digests, so that neither the place of the first difference nor the length shows in the time it takes. */
const bearer = (token: string): ((header: string | undefined) => boolean) => {
  const wanted = digest(`Bearer ${token}`);
  return (header) => timingSafeEqual(digest(header ?? ""), wanted);
};

type Query = Readonly<Record<string, unknown>>;
type Handler = (request: FastifyRequest) => Promise<ApiAnswer>;

const topicAnswer = (answer: TopicAnswer): ApiAnswer => (answer.ok ? success : failed(409, answer.message));

/**
 * dtm's HTTP API for two-phase messages (prefix `/api/dtmsvr`), the operator's calls on dead letters, and our client's
 * bulk call. `openapi.json` beside this file describes it and is checked against it.
 */
export const messageRoutes = (app: FastifyInstance, api: MessageApi): void => {
  const { messages, topics, callable } = api;
  const isCaller = api.token === undefined ? undefined : bearer(api.token);

  const named = async (body: unknown, event: (reason: string) => MessageEvent): Promise<ApiAnswer> => {
    const { gid, reason } = readNamed(body);
    const { reply, record } = await messages.handle(gid, event(reason));
    return answerTo(reply, record);
  };
  const prepare = async (body: unknown): Promise<ApiAnswer> => {
    const { gid, definition } = await readMessage(body, "prepare", callable, (name) => topics.subscribers(name));
    const { reply, record } = await messages.handle(gid, { type: "prepare", definition });
    return answerTo(reply, record);
  };
  const submit = async (body: unknown): Promise<ApiAnswer> => {
    const { gid, definition } = await readMessage(body, "submit", callable, (name) => topics.subscribers(name));
    const { reply, record } = await messages.handle(gid, { type: "submit", definition });
    if (reply.code !== "ok" || !definition.waitResult || record === undefined || definition.delayMs > 0) return answerTo(reply, record);
    const waited = await messages.waitRound(gid, record, WAIT_RESULT_MOST_MS);
    if (waited === Waited.succeed) return success;
    if (waited === Waited.failed) return failed(409, `current status '${MessageState.failed}'. ${DtmResult.failure}`);
    return { status: 425, body: { dtm_result: DtmResult.ongoing, message: "a branch has not succeeded yet; it is tried again" } };
  };
  const abort = (body: unknown): Promise<ApiAnswer> => named(body, (reason) => ({ type: "abort", reason: reason || "aborted" }));
  // our client's short form: what it prepared is stored, so it need not be sent, parsed and checked again
  const submitPrepared = async (body: unknown): Promise<ApiAnswer> => {
    const { gid } = readNamed(body);
    const { reply, record } = await messages.handle(gid, { type: "submit", definition: undefined });
    return answerTo(reply, record);
  };
  const CALLS = { prepare, submit, submitPrepared, abort } as const;

  const bulk = async (body: unknown): Promise<ApiAnswer> => {
    if (!Array.isArray(body)) throw new BadMessage("the body must be an array of calls");
    if (body.length > BULK_MOST) throw new BadMessage(`the body must have at most ${BULK_MOST} calls`);
    const one = async (item: unknown): Promise<ApiAnswer> => {
      const { call, body } = readFields(item);
      if (typeof call !== "string" || !Object.hasOwn(CALLS, call))
        throw new BadMessage(`call must be one of ${Object.keys(CALLS).join(", ")}`);
      return CALLS[call as keyof typeof CALLS](body);
    };
    const answers = await Promise.all(body.map((item) => one(item).catch((error: unknown) => faultAnswer(error))));
    return { status: 200, body: { dtm_result: DtmResult.success, answers } };
  };

  const find = async (gid: string): Promise<Awaited<ReturnType<Messages["find"]>>> => messages.find(readGid(gid));
  const query: Handler = async (request) => {
    const found = await find(readParameter((request.query as Query)["gid"], "gid"));
    const body =
      found === undefined ? { transaction: null, branches: [] } : { transaction: messageView(found), branches: branchViews(found) };
    return { status: 200, body };
  };
  const page = async (list: MessageList, query: Query, wanted: (record: MessageRecord) => boolean, fromMs: number): Promise<ApiAnswer> => {
    const position = readParameter(query["position"], "position");
    const limit = readCount(query["limit"], "limit", 1, PAGE_MOST, 100);
    const answer = await messages.page({ list, position, limit, fromMs, wanted });
    if (answer === undefined) throw new BadMessage("position must be empty or the next_position of the page before");
    return { status: 200, body: { transactions: answer.messages.map(messageView), next_position: answer.next } };
  };
  const all: Handler = async (request) => {
    const query = request.query as Query;
    const gid = readParameter(query["gid"], "gid");
    if (gid !== "") {
      const found = await find(gid);
      return { status: 200, body: { transactions: found === undefined ? [] : [messageView(found)], next_position: "" } };
    }
    const status = readParameter(query["status"], "status");
    const type = readParameter(query["transType"], "transType");
    const fromMs = readCount(query["createTimeStart"], "createTimeStart", 0, Number.MAX_SAFE_INTEGER, 0);
    const toMs = readCount(query["createTimeEnd"], "createTimeEnd", 0, Number.MAX_SAFE_INTEGER, 0);
    const wanted = (record: MessageRecord): boolean =>
      (status === "" || record.state === status) && (type === "" || type === "msg") && (toMs === 0 || record.createdAtMs <= toMs);
    return page(MessageList.messages, query, wanted, fromMs);
  };
  const resetCronTime: Handler = async (request) => {
    const query = request.query as Query;
    const timeoutS = readCount(query["timeout"], "timeout", 0, 1_000_000_000, 0);
    const limit = readCount(query["limit"], "limit", 1, PAGE_MOST, 100);
    const { pulled, left } = await messages.pull(timeoutS * 1_000, limit);
    return { status: 200, body: { has_remaining: left > 0, succeed_count: pulled } };
  };
  const subscribe: Handler = async (request) => {
    const query = request.query as Query;
    const url = readSubscriberUrl(query["url"], callable);
    return topicAnswer(
      await topics.subscribe(readTopicName(query["topic"]), { url, remark: readParameter(query["remark"], "remark").slice(0, 500) }),
    );
  };
  const unsubscribe: Handler = async (request) => {
    const query = request.query as Query;
    const url = readParameter(query["url"], "url");
    if (url === "") throw new BadMessage("url must not be empty");
    return topicAnswer(await topics.unsubscribe(readTopicName(query["topic"]), url));
  };

  const faultAnswer = (error: unknown): ApiAnswer => {
    if (error instanceof BadMessage) return failed(400, error.message);
    const status = (error as { statusCode?: unknown }).statusCode;
    if (status === 413) return failed(413, `the body must have at most ${BODY_BYTES_MOST} bytes`);
    if (status === 400 || status === 415) return failed(400, "the body must be JSON");
    api.fault(error);
    // the store may have done it all the same: asking again tells
    return { status: 500, body: { message: "the outcome is unknown, repeat the call" } };
  };
  const send = (reply: FastifyReply, answer: ApiAnswer): FastifyReply => reply.code(answer.status).send(answer.body);

  void app.register(
    // oxlint-disable-next-line require-await -- a plugin without callback has to be async
    async (scope) => {
      scope.setErrorHandler((error, _request, reply) => send(reply, faultAnswer(error)));
      scope.removeAllContentTypeParsers();
      // dtm's clients in other languages send JSON under any content type, or none
      scope.addContentTypeParser("*", { parseAs: "string", bodyLimit: BODY_BYTES_MOST }, (_request, text, done) => {
        try {
          done(null, JSON.parse(text as string));
        } catch {
          done(new BadMessage("the body must be JSON"));
        }
      });
      if (isCaller !== undefined) {
        scope.addHook("onRequest", async (request, reply) => {
          if (!isCaller(request.headers.authorization)) await send(reply, failed(401, "a bearer token is needed"));
        });
      }
      const route = (method: "GET" | "POST" | "DELETE", path: string, handler: Handler): void => {
        const call = path.split("/")[1] as string;
        scope.route({
          method,
          url: `/api/dtmsvr${path}`,
          bodyLimit: BODY_BYTES_MOST,
          handler: async (request, reply) => {
            const timed = api.metrics.duration.startTimer({ call });
            await api.started();
            const answer = await handler(request).catch(faultAnswer);
            timed();
            api.metrics.answers.inc({ call, status: answer.status });
            return send(reply, answer);
          },
        });
      };
      route("GET", "/version", async () => ({ status: 200, body: { version: api.version } }));
      route("GET", "/newGid", async () => ({ status: 200, body: { gid: api.random.nonce(), dtm_result: DtmResult.success } }));
      route("POST", "/prepare", (request) => prepare(request.body));
      route("POST", "/submit", (request) => submit(request.body));
      route("POST", "/abort", (request) => abort(request.body));
      route("POST", "/bulk", (request) => bulk(request.body));
      route("POST", "/forceStop", (request) =>
        named(request.body, (reason) => ({ type: "forceStop", reason: reason || "stopped by force" })),
      );
      route("POST", "/resetNextCronTime", (request) => named(request.body, () => ({ type: "pull" })));
      route("POST", "/deadLetters/retry", (request) => named(request.body, () => ({ type: "retry" })));
      route("POST", "/deadLetters/fail", (request) =>
        named(request.body, (reason) => ({ type: "fail", reason: reason || "failed by an operator" })),
      );
      route("GET", "/deadLetters", (request) => page(MessageList.dead, request.query as Query, () => true, 0));
      route("GET", "/query", query);
      route("GET", "/all", all);
      route("GET", "/resetCronTime", resetCronTime);
      route("GET", "/subscribe", subscribe);
      route("GET", "/unsubscribe", unsubscribe);
      route("DELETE", "/topic/:name", async (request) =>
        topicAnswer(await topics.delete(readTopicName((request.params as Query)["name"]))),
      );
      scope.get("/api/metrics", async (_request, reply) => reply.type(api.registry.contentType).send(await api.registry.metrics()));
    },
  );
  app.all("/api/ping", async () => ({ msg: "pong" }));
};
