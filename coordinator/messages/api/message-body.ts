import type { z } from "zod";
import type { Callable } from "#program/callable-hosts";
import type { Branch, Definition } from "../record.ts";
import { seconds, URL_CHARS_MOST, type MessageFields } from "./message-schemas.ts";

const TOPIC_PREFIX = "topic://";
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/;
const HEADER_VALUE = /^[\t\u0020-\u007e\u00a0-\u00ff]{0,4000}$/;
/** What the connection needs for itself. */
const HEADERS_NOT = new Set([
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "upgrade",
  "keep-alive",
  "expect",
  "te",
  "trailer",
]);

/** Thrown by the readers below; the message is the sentence that the caller gets with a 400. */
export class BadMessage extends Error {
  override readonly name = "BadMessage";
}
const bad = (sentence: string): never => {
  throw new BadMessage(sentence);
};

/** A value by its schema. @throws BadMessage with what is wrong first */
export const read = <T extends z.ZodType>(schema: T, value: unknown): z.output<T> => {
  const result = schema.safeParse(value);
  return result.success ? result.data : bad(result.error.issues[0]?.message ?? "the body is wrong");
};

/** @throws BadMessage if it is too long or may not be called */
export const readUrl = (url: string, name: string, callable: (url: string) => Callable): string => {
  if (url.length > URL_CHARS_MOST) return bad(`${name} must have at most ${URL_CHARS_MOST} characters`);
  const may = callable(url);
  return may.ok ? url : bad(`${name} ${may.why}`);
};

const readHeaders = (fields: Readonly<Record<string, string>>): Readonly<Record<string, string>> => {
  const headers: Record<string, string> = {};
  for (const [name, text] of Object.entries(fields)) {
    if (!HEADER_NAME.test(name)) return bad(`branch_headers has the name '${name.slice(0, 100)}', which is not a header's name`);
    if (HEADERS_NOT.has(name.toLowerCase())) return bad(`branch_headers must not set ${name.toLowerCase()}`);
    if (!HEADER_VALUE.test(text)) return bad(`branch_headers: the value of ${name} is not a header's value`);
    headers[name.toLowerCase()] = text;
  }
  return headers;
};

const toMs = (given: number | null | undefined): number => Math.round((given ?? 0) * 1_000);

const delaySchema = seconds("custom_data.delay");

const readDelayMs = (customData: string): number => {
  if (customData === "") return 0;
  let parsed: unknown;
  try {
    parsed = JSON.parse(customData);
  } catch {
    return bad("custom_data must be JSON text");
  }
  const delay = typeof parsed === "object" && parsed !== null ? (parsed as { delay?: unknown }).delay : undefined;
  return toMs(read(delaySchema, delay));
};

/** Payloads by step: `payloads`, then (dtm's older form) the `data` of the steps that have some. */
const readPayloads = ({ steps, payloads }: MessageFields): readonly string[] => {
  const count = steps?.length ?? 0;
  const all = [...(payloads ?? []), ...(steps ?? []).map((step) => step.data).filter((data) => data !== "")];
  return all.length === count ? all : bad(`steps and payloads must be of equal length, they are ${count} and ${all.length}`);
};

const BRANCH_DIGITS = 2;
const number = (index: number): string => String(index + 1).padStart(BRANCH_DIGITS, "0");

/** Subscribers of a topic, in order; none if there is no such topic. */
export type Subscribers = (name: string) => Promise<readonly { readonly url: string }[]>;

const readBranches = async (
  actions: readonly string[],
  payloads: readonly string[],
  callable: (url: string) => Callable,
  subscribers: Subscribers,
): Promise<readonly Branch[]> => {
  const branches: Branch[] = [];
  for (const [i, action] of actions.entries()) {
    const payload = payloads[i] as string;
    if (!action.startsWith(TOPIC_PREFIX)) {
      if (action !== "") readUrl(action, `action of step ${number(i)}`, callable);
      branches.push({ branchId: number(i), url: action, payload });
      continue;
    }
    const urls = await subscribers(action.slice(TOPIC_PREFIX.length));
    if (urls.length === 0) return bad("topic not found");
    for (const [j, { url }] of urls.entries())
      branches.push({ branchId: urls.length === 1 ? number(i) : `${number(i)}-${number(j)}`, url, payload });
  }
  return branches;
};

/** What a body of prepare or submit asks for. @throws BadMessage */
export const readDefinition = async (
  fields: MessageFields,
  callable: (url: string) => Callable,
  subscribers: Subscribers,
): Promise<Definition> => {
  const payloads = readPayloads(fields);
  const queryUrl = fields.query_prepared ?? "";
  if (queryUrl !== "") readUrl(queryUrl, "query_prepared", callable);
  const customData = fields.custom_data ?? "";
  const plain = {
    queryUrl,
    customData,
    branchHeaders: readHeaders(fields.branch_headers ?? {}),
    concurrent: fields.concurrent ?? false,
    waitResult: fields.wait_result ?? false,
    delayMs: readDelayMs(customData),
    timeoutToFailMs: toMs(fields.timeout_to_fail),
    requestTimeoutMs: toMs(fields.request_timeout),
    retryIntervalMs: toMs(fields.retry_interval),
  };
  const steps = (fields.steps ?? []).map((step) => step.action);
  return { steps, branches: await readBranches(steps, payloads, callable, subscribers), ...plain };
};
