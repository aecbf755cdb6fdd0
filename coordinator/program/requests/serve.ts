import type { Msg, NatsConnection } from "nats";
import type { z } from "zod";
import { requests, type Request, type RequestName, type Requests } from "#protocol/requests/contract";
import { RequestError, type Reply } from "#protocol/requests/reply";
import { WORKERS } from "#protocol/subjects";
import { issuesText } from "#protocol/zod-issues";
import { respond } from "./large-reply.ts";

/** What a handler may give: a list need not be one that may be written to. */
type Given<Value> = Value extends readonly (infer Item)[] ? readonly Item[] : Value;
type ValueOf<Name extends RequestName> = Given<z.output<Requests[Name]["value"]>>;

/** Answers a request, once or (where answers stream) several times, the last by its return. */
export type Handler<Name extends RequestName> = (
  body: z.output<Requests[Name]["body"]>,
  progress: (value: ValueOf<Name>) => void,
) => Promise<Reply<ValueOf<Name>>>;

/** One for every request that there is. */
export type Handlers = { readonly [Name in RequestName]: Handler<Name> };

export interface ServeOptions {
  readonly connection: NatsConnection;
  readonly handlers: Handlers;
  /** a store failed: the asker hears `unavailable` */
  readonly fault: (subject: string, error: unknown) => void;
}

export interface RequestServer {
  /** Takes no new requests; resolves when those at work are answered. */
  close(): Promise<void>;
}

/** A handler when its types have been checked. */
type AnyHandler = (body: unknown, progress: (value: unknown) => void) => Promise<Reply<unknown>>;

const badRequest = (detail: string): Reply<never> => ({ ok: false, code: RequestError.badRequest, detail });

const readBody = (data: Uint8Array): { readonly json: unknown } | undefined => {
  try {
    // A request without a body asks for everything: {}.
    return { json: data.length === 0 ? {} : JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data)) };
  } catch {
    return undefined;
  }
};

const replyTo = async (
  request: Request,
  handle: AnyHandler,
  data: Uint8Array,
  progress: (value: unknown) => void,
): Promise<Reply<unknown>> => {
  const body = readBody(data);
  if (body === undefined) return badRequest("the body is not JSON");
  const parsed = request.body.safeParse(body.json);
  if (!parsed.success) return badRequest(issuesText(parsed.error));
  return handle(parsed.data, progress);
};

/** Answers the requests of coordinators and gateways; the processes share them by a queue group. */
export const serve = ({ connection, handlers, fault }: ServeOptions): RequestServer => {
  const running = new Set<Promise<void>>();

  const answer = async (request: Request, handle: AnyHandler, message: Msg): Promise<void> => {
    const answerWith = (reply: Reply<unknown>): void => respond(connection, message, reply);
    try {
      answerWith(await replyTo(request, handle, message.data, (value) => answerWith({ ok: true, value })));
    } catch (error) {
      fault(request.subject, error);
      answerWith({ ok: false, code: RequestError.unavailable, detail: "a store did not answer; ask again" });
    }
  };

  const accept = (request: Request, handle: AnyHandler, message: Msg): void => {
    const work = answer(request, handle, message).finally(() => running.delete(work));
    running.add(work);
  };

  const subscriptions = Object.entries(requests).map(([name, request]) => {
    const handle = handlers[name as RequestName] as AnyHandler;
    return connection.subscribe(request.subject, {
      queue: WORKERS,
      callback: (error, message) => {
        if (error === null) accept(request, handle, message);
        else fault(request.subject, error);
      },
    });
  });
  return {
    close: async () => {
      for (const subscription of subscriptions) subscription.unsubscribe();
      await Promise.all(running);
    },
  };
};
