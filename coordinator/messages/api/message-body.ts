import type { Callable } from "#program/callable-hosts";
import type { Branch, Definition } from "../record.ts";

const GID_CHARS_MOST = 128;
const STEPS_MOST = 100;
const URL_CHARS_MOST = 2_000;
const CUSTOM_DATA_CHARS_MOST = 65_536;
const SECONDS_MOST = 30 * 24 * 3_600;
const TOPIC_PREFIX = "topic://";
/** dtm takes anything; white space and control characters would garble logs and addresses. */
const GID = /^[^\s\p{Cc}]+$/u;
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/;
const HEADER_VALUE = /^[\t\u0020-\u007e\u0080-\u00ff]{0,4000}$/;
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

type Fields = Readonly<Record<string, unknown>>;

export const readFields = (body: unknown): Fields =>
  typeof body === "object" && body !== null && !Array.isArray(body) ? (body as Fields) : bad("the body must be a JSON object");

export const readGid = (value: unknown): string => {
  if (value === undefined || value === null || value === "") return bad("gid must not be empty");
  if (typeof value !== "string" || value.length > GID_CHARS_MOST || !GID.test(value))
    return bad(`gid must be a string of at most ${GID_CHARS_MOST} characters without spaces and control characters`);
  return value;
};

const readText = (fields: Fields, name: string, most: number): string => {
  const value = fields[name];
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") return bad(`${name} must be a string`);
  return value.length <= most ? value : bad(`${name} must have at most ${most} characters`);
};

const readFlag = (fields: Fields, name: string): boolean => {
  const value = fields[name];
  if (value === undefined || value === null) return false;
  return typeof value === "boolean" ? value : bad(`${name} must be true or false`);
};

const readSeconds = (value: unknown, name: string): number => {
  if (value === undefined || value === null) return 0;
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0 || value > SECONDS_MOST)
    return bad(`${name} must be a number of seconds from 0 to ${SECONDS_MOST}`);
  return Math.round(value * 1_000);
};

const readStrings = (value: unknown, name: string): readonly string[] => {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.some((item) => typeof item !== "string")) return bad(`${name} must be an array of strings`);
  return value as string[];
};

const readUrl = (url: string, name: string, callable: (url: string) => Callable): string => {
  if (url.length > URL_CHARS_MOST) return bad(`${name} must have at most ${URL_CHARS_MOST} characters`);
  const may = callable(url);
  return may.ok ? url : bad(`${name} ${may.why}`);
};

const readHeaders = (value: unknown): Readonly<Record<string, string>> => {
  if (value === undefined || value === null) return {};
  if (typeof value !== "object" || Array.isArray(value)) return bad("branch_headers must be an object of strings");
  const headers: Record<string, string> = {};
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== "string") return bad("branch_headers must be an object of strings");
    if (!HEADER_NAME.test(name)) return bad(`branch_headers has the name '${name.slice(0, 100)}', which is not a header's name`);
    if (HEADERS_NOT.has(name.toLowerCase())) return bad(`branch_headers must not set ${name.toLowerCase()}`);
    if (!HEADER_VALUE.test(text)) return bad(`branch_headers: the value of ${name} is not a header's value`);
    headers[name.toLowerCase()] = text;
  }
  return headers;
};

const readDelay = (customData: string): number => {
  if (customData === "") return 0;
  let parsed: unknown;
  try {
    parsed = JSON.parse(customData);
  } catch {
    return bad("custom_data must be JSON text");
  }
  const delay = typeof parsed === "object" && parsed !== null ? (parsed as { delay?: unknown }).delay : undefined;
  return readSeconds(delay, "custom_data.delay");
};

interface Step {
  readonly action: string;
  readonly data: string;
}

const readSteps = (value: unknown): readonly Step[] => {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) return bad("steps must be an array");
  if (value.length > STEPS_MOST) return bad(`steps must have at most ${STEPS_MOST} entries`);
  return value.map((step: unknown): Step => {
    if (typeof step !== "object" || step === null || Array.isArray(step)) return bad("each of steps must be an object");
    const { action = "", data = "" } = step as { action?: unknown; data?: unknown };
    if (typeof action !== "string" || typeof data !== "string") return bad("action and data of a step must be strings");
    return { action, data };
  });
};

/** Payloads by step: `payloads`, then (dtm's older form) the `data` of the steps that have some. */
const readPayloads = (fields: Fields, steps: readonly Step[]): readonly string[] => {
  const payloads = [...readStrings(fields["payloads"], "payloads"), ...steps.map((step) => step.data).filter((data) => data !== "")];
  return payloads.length === steps.length
    ? payloads
    : bad(`steps and payloads must be of equal length, they are ${steps.length} and ${payloads.length}`);
};

const readType = (fields: Fields, required: boolean): void => {
  const type = fields["trans_type"];
  if (type === undefined && !required) return;
  if (type !== "msg") bad(`trans_type must be 'msg'${typeof type === "string" ? `, not '${type.slice(0, 40)}'` : ""}`);
};

const BRANCH_DIGITS = 2;
const number = (index: number): string => String(index + 1).padStart(BRANCH_DIGITS, "0");

export interface MessageBody {
  readonly gid: string;
  readonly definition: Definition;
}

/**
 * The body of prepare and submit.
 * @param topic subscribers of a topic, in order; none if there is no such topic
 * @throws BadMessage
 */
export const readMessage = async (
  body: unknown,
  call: "prepare" | "submit",
  callable: (url: string) => Callable,
  topic: (name: string) => Promise<readonly { readonly url: string }[]>,
): Promise<MessageBody> => {
  const fields = readFields(body);
  const gid = readGid(fields["gid"]);
  readType(fields, true);
  const protocol = readText(fields, "protocol", 20);
  if (protocol !== "" && protocol !== "http") return bad("protocol must be 'http'");
  const steps = readSteps(fields["steps"]);
  const payloads = readPayloads(fields, steps);
  const queryUrl = readText(fields, "query_prepared", URL_CHARS_MOST);
  if (call === "prepare" && queryUrl === "") return bad("query_prepared must not be empty");
  if (queryUrl !== "") readUrl(queryUrl, "query_prepared", callable);
  const customData = readText(fields, "custom_data", CUSTOM_DATA_CHARS_MOST);
  const plain = {
    queryUrl,
    customData,
    branchHeaders: readHeaders(fields["branch_headers"]),
    concurrent: readFlag(fields, "concurrent"),
    waitResult: readFlag(fields, "wait_result"),
    delayMs: readDelay(customData),
    timeoutToFailMs: readSeconds(fields["timeout_to_fail"], "timeout_to_fail"),
    requestTimeoutMs: readSeconds(fields["request_timeout"], "request_timeout"),
    retryIntervalMs: readSeconds(fields["retry_interval"], "retry_interval"),
  };
  const branches: Branch[] = [];
  for (const [i, { action }] of steps.entries()) {
    const payload = payloads[i] as string;
    if (!action.startsWith(TOPIC_PREFIX)) {
      if (action !== "") readUrl(action, `action of step ${number(i)}`, callable);
      branches.push({ branchId: number(i), url: action, payload });
      continue;
    }
    const urls = await topic(action.slice(TOPIC_PREFIX.length));
    if (urls.length === 0) return bad("topic not found");
    for (const [j, { url }] of urls.entries())
      branches.push({ branchId: urls.length === 1 ? number(i) : `${number(i)}-${number(j)}`, url, payload });
  }
  return { gid, definition: { steps: steps.map((step) => step.action), branches, ...plain } };
};

/** The body of abort, forceStop and the calls about one message. @throws BadMessage */
export const readNamed = (body: unknown): { readonly gid: string; readonly reason: string } => {
  const fields = readFields(body);
  const gid = readGid(fields["gid"]);
  readType(fields, false);
  return { gid, reason: readText(fields, "rollback_reason", 1_024) };
};

/** A query parameter that is a whole number; dtm gives them all as text. @throws BadMessage */
export const readCount = (value: unknown, name: string, least: number, most: number, fallback: number): number => {
  if (value === undefined || value === "") return fallback;
  const count = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
  return count >= least && count <= most ? count : bad(`${name} must be a whole number from ${least} to ${most}`);
};

/** A query parameter that is a text. @throws BadMessage */
export const readParameter = (value: unknown, name: string): string => {
  if (value === undefined) return "";
  return typeof value === "string" ? value : bad(`${name} must be given once`);
};

/** A topic's name. @throws BadMessage */
export const readTopicName = (value: unknown): string => {
  const name = readParameter(value, "topic");
  if (name === "") return bad("topic must not be empty");
  return name.length <= GID_CHARS_MOST && GID.test(name)
    ? name
    : bad(`topic must have at most ${GID_CHARS_MOST} characters without spaces and control characters`);
};

/** A subscriber's URL. @throws BadMessage */
export const readSubscriberUrl = (value: unknown, callable: (url: string) => Callable): string => {
  const url = readParameter(value, "url");
  return url === "" ? bad("url must not be empty") : readUrl(url, "url", callable);
};
