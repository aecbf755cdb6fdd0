import type { Msg, NatsConnection, Subscription } from "nats";
import type { z } from "zod";
import { RequestError, type Answer } from "#protocol/requests";
import { WORKERS, type Request } from "#protocol/subjects";

/** Answers a request, once or (a restore) several times, the last by its return. */
export interface Handler {
  readonly body: z.ZodType;
  handle(body: never, progress: (value: unknown) => void): Promise<Answer<unknown>>;
}

/** Ties a handler's body to its schema. */
export const handler = <T extends z.ZodType>(
  body: T,
  handle: (body: z.output<T>, progress: (value: unknown) => void) => Promise<Answer<unknown>>,
): Handler => ({ body, handle });

export interface RequestServerOptions {
  readonly connection: NatsConnection;
  readonly handlers: Readonly<Partial<Record<Request, Handler>>>;
  /** a store failed: the asker hears `unavailable` */
  readonly fault: (subject: string, error: unknown) => void;
}

const badRequest = (detail: string): Answer<never> => ({ ok: false, code: RequestError.badRequest, detail });

const readBody = (data: Uint8Array): { readonly json: unknown } | undefined => {
  try {
    // A request without a body asks for everything: {}.
    return { json: data.length === 0 ? {} : JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data)) };
  } catch {
    return undefined;
  }
};

const answerTo = async (entry: Handler, data: Uint8Array, progress: (value: unknown) => void): Promise<Answer<unknown>> => {
  const body = readBody(data);
  if (body === undefined) return badRequest("the body is not JSON");
  const parsed = entry.body.safeParse(body.json);
  if (!parsed.success)
    return badRequest(parsed.error.issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`).join("; "));
  return entry.handle(parsed.data as never, progress);
};

/** Answers the requests of coordinator and gateways; the processes share them by a queue group. */
export class RequestServer {
  private readonly options: RequestServerOptions;
  private readonly subscriptions: Subscription[];
  private readonly running = new Set<Promise<void>>();

  constructor(options: RequestServerOptions) {
    this.options = options;
    this.subscriptions = Object.entries(options.handlers).map(([subject, entry]) =>
      options.connection.subscribe(subject, {
        queue: WORKERS,
        callback: (error, message) => {
          if (error === null) this.accept(subject, entry, message);
          else options.fault(subject, error);
        },
      }),
    );
  }

  /** Takes no new requests; resolves when those at work are answered. */
  async close(): Promise<void> {
    for (const subscription of this.subscriptions) subscription.unsubscribe();
    await Promise.all(this.running);
  }

  private accept(subject: string, entry: Handler, message: Msg): void {
    const work = this.serve(subject, entry, message).finally(() => this.running.delete(work));
    this.running.add(work);
  }

  private async serve(subject: string, entry: Handler, message: Msg): Promise<void> {
    const { connection, fault } = this.options;
    const respond = (answer: Answer<unknown>): void => {
      if (!connection.isClosed()) message.respond(JSON.stringify(answer));
    };
    try {
      respond(await answerTo(entry, message.data, (value) => respond({ ok: true, value })));
    } catch (error) {
      fault(subject, error);
      respond({ ok: false, code: RequestError.unavailable, detail: "a store did not answer; ask again" });
    }
  }
}
