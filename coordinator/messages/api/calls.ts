import type { Callable } from "#program/callable-hosts";
import type { z } from "zod";
import { DtmResult } from "../dtm-result.ts";
import type { MessageEvent } from "../machine.ts";
import { Waited, type Messages } from "../messages.ts";
import { MessageState } from "../record.ts";
import type { Topics } from "../topics.ts";
import { answerTo, failed, success, type ApiAnswer } from "./answer.ts";
import { bulkAnswerSchema, successSchema } from "./answer-schemas.ts";
import { read, readDefinition } from "./message-body.ts";
import {
  bulkCallSchema,
  bulkDocumentSchema,
  bulkSchema,
  namedSchema,
  prepareSchema,
  submitSchema,
  type BulkCall,
  type MessageFields,
} from "./message-schemas.ts";
import { route, type MessageRoute } from "./message-route.ts";

/** Longest that a submit with wait_result is held; then it hears ONGOING, which is true. */
const WAIT_RESULT_MOST_MS = 30_000;

type Named = z.output<typeof namedSchema>;

export interface CallPorts {
  readonly messages: Messages;
  readonly topics: Topics;
  readonly callable: (url: string) => Callable;
}

/** What may be done with one message, by its body as it was read. */
interface Calls {
  prepare(fields: MessageFields): Promise<ApiAnswer>;
  submit(fields: MessageFields): Promise<ApiAnswer>;
  /** our client's short form: what it prepared is stored, so it need not be sent, parsed and checked again */
  submitPrepared(named: Named): Promise<ApiAnswer>;
  abort(named: Named): Promise<ApiAnswer>;
  /** @param fallback the reason where the caller gives none */
  named(named: Named, type: "abort" | "forceStop" | "fail", fallback: string): Promise<ApiAnswer>;
  /** with an event that has no reason */
  now(named: Named, type: "pull" | "retry"): Promise<ApiAnswer>;
}

const createCalls = ({ messages, topics, callable }: CallPorts): Calls => {
  const definitionOf = (fields: MessageFields) => readDefinition(fields, callable, (name) => topics.subscribers(name));
  const handle = async (gid: string, event: MessageEvent): Promise<ApiAnswer> => {
    const { reply, record } = await messages.handle(gid, event);
    return answerTo(reply, record);
  };
  const named: Calls["named"] = ({ gid, rollback_reason: reason }, type, fallback) => handle(gid, { type, reason: reason || fallback });
  return {
    prepare: async (fields) => handle(fields.gid, { type: "prepare", definition: await definitionOf(fields) }),
    submit: async (fields) => {
      const { gid } = fields;
      const definition = await definitionOf(fields);
      const { reply, record } = await messages.handle(gid, { type: "submit", definition });
      if (reply.code !== "ok" || !definition.waitResult || record === undefined || definition.delayMs > 0) return answerTo(reply, record);
      const waited = await messages.waitRound(gid, record, WAIT_RESULT_MOST_MS);
      if (waited === Waited.succeed) return success;
      if (waited === Waited.failed) return failed(409, `current status '${MessageState.failed}'. ${DtmResult.failure}`);
      return { status: 425, body: { dtm_result: DtmResult.ongoing, message: "a branch has not succeeded yet; it is tried again" } };
    },
    submitPrepared: ({ gid }) => handle(gid, { type: "submit", definition: undefined }),
    abort: (body) => named(body, "abort", "aborted"),
    named,
    now: ({ gid }, type) => handle(gid, { type }),
  };
};

/** Answers each call of a bulk request for itself. */
const bulkOf = (calls: Calls, faultAnswer: (error: unknown) => ApiAnswer) => {
  const readAndCall: Readonly<Record<BulkCall, (body: unknown) => Promise<ApiAnswer>>> = {
    prepare: (body) => calls.prepare(read(prepareSchema, body)),
    submit: (body) => calls.submit(read(submitSchema, body)),
    submitPrepared: (body) => calls.submitPrepared(read(namedSchema, body)),
    abort: (body) => calls.abort(read(namedSchema, body)),
  };
  const one = async (item: unknown): Promise<ApiAnswer> => {
    const { call, body } = read(bulkCallSchema, item);
    return readAndCall[call](body);
  };
  return async (items: readonly unknown[]): Promise<ApiAnswer> => {
    const answers = await Promise.all(items.map((item) => one(item).catch((error: unknown) => faultAnswer(error))));
    return { status: 200, body: { dtm_result: DtmResult.success, answers } };
  };
};

const NAMED = ["body", namedSchema] as const;

/** dtm's calls on one message, the operator's on dead letters, and our client's bulk call. */
export const callRoutes = (ports: CallPorts, faultAnswer: (error: unknown) => ApiAnswer): readonly MessageRoute[] => {
  const calls = createCalls(ports);
  const facts = (operationId: string, summary: string, refusals: readonly (404 | 409 | 425)[] = [404, 409]) => ({
    operationId,
    summary,
    done: successSchema,
    refusals,
  });
  const prepare = facts(
    "prepare",
    "Stores a message that is neither delivered nor forgotten until it is submitted, aborted or asked back about",
    [409],
  );
  const submit = facts("submit", "Delivers a message, prepared before or not; repeating it delivers nothing twice", [409, 425]);
  const bulk = {
    operationId: "bulk",
    summary: "Several calls in one request, each answered for itself; not in dtm",
    done: bulkAnswerSchema,
  };
  const stop = facts("forceStop", "Operator: fails any unfinished message");
  const now = facts("resetNextCronTime", "Operator: does now what the message waits for");
  const retry = facts("retryDeadLetter", "Operator: starts a dead letter's rounds anew");
  const fail = facts("failDeadLetter", "Operator: fails a dead letter");
  return [
    route("POST", "/prepare", prepare, ["body", prepareSchema], (fields) => calls.prepare(fields)),
    route("POST", "/submit", submit, ["body", submitSchema], (fields) => calls.submit(fields)),
    route("POST", "/abort", facts("abort", "Fails a prepared message"), NAMED, (named) => calls.abort(named)),
    route("POST", "/bulk", bulk, ["body", bulkSchema, bulkDocumentSchema], bulkOf(calls, faultAnswer)),
    route("POST", "/forceStop", stop, NAMED, (named) => calls.named(named, "forceStop", "stopped by force")),
    route("POST", "/resetNextCronTime", now, NAMED, (named) => calls.now(named, "pull")),
    route("POST", "/deadLetters/retry", retry, NAMED, (named) => calls.now(named, "retry")),
    route("POST", "/deadLetters/fail", fail, NAMED, (named) => calls.named(named, "fail", "failed by an operator")),
  ];
};
