import { z } from "zod";
import { storableLine, storableLines } from "#protocol/text";

const GID_CHARS_MOST = 128;
const STEPS_MOST = 100;
const CUSTOM_DATA_CHARS_MOST = 65_536;
const REASON_CHARS_MOST = 1_024;
const SECONDS_MOST = 30 * 24 * 3_600;
export const URL_CHARS_MOST = 2_000;
/** Calls of one bulk request: what one event loop turn of a busy client gathers. */
const BULK_MOST = 256;
/** dtm takes anything; white space and control characters would garble logs and addresses, half of a surrogate pair cannot be stored. */
const NAME = /^[^\s\p{Cc}\p{Cs}]+$/u;

/** zod's `error` where a missing value, or null, has a sentence of its own. */
const sentence =
  (missing: string, wrong: string) =>
  ({ input }: { readonly input?: unknown }): string =>
    input === undefined || input === null ? missing : wrong;

const name = (what: string, wrong: string, misshapen: string) =>
  z
    .string({ error: sentence(`${what} must not be empty`, wrong) })
    .min(1, `${what} must not be empty`)
    .max(GID_CHARS_MOST, misshapen)
    .regex(NAME, misshapen);

const GID_SHAPE = `gid must be a string of at most ${GID_CHARS_MOST} characters without spaces and control characters`;
export const gidSchema = name("gid", GID_SHAPE, GID_SHAPE).meta({ description: "no white space, no control characters" });
/** A gid in a query string, where every value is a text and may be given twice. */
export const gidParameterSchema = name("gid", "gid must be given once", GID_SHAPE);
/** A topic's name in a query string or path. */
export const topicNameSchema = name(
  "topic",
  "topic must be given once",
  `topic must have at most ${GID_CHARS_MOST} characters without spaces and control characters`,
);

/** A text of a body, as one of lines or of one line; none is the empty one. */
const text = (what: string, most: number, storable: typeof storableLine) =>
  storable({ name: what, error: `${what} must be a string` })
    .max(most, `${what} must have at most ${most} characters`)
    .nullish();

const flag = (what: string) => z.boolean({ error: `${what} must be true or false` }).nullish();

/** A time in a body, in seconds; a fraction is allowed. */
export const seconds = (what: string) => {
  const error = `${what} must be a number of seconds from 0 to ${SECONDS_MOST}`;
  return z.number({ error }).min(0, error).max(SECONDS_MOST, error).nullish();
};

const STEP_TEXTS = "action and data of a step must be strings";
const stepText = (name: string, storable: typeof storableLine) => storable({ name: `${name} of a step`, error: STEP_TEXTS }).default("");
const stepSchema = z.object(
  {
    action: stepText("action", storableLine).meta({ description: "a URL, `topic://name`, or empty: nothing to call" }),
    data: stepText("data", storableLines).meta({ description: "dtm's older form of a payload" }),
  },
  { error: "each of steps must be an object" },
);

const transTypeSchema = z.literal("msg", {
  error: ({ input }) => `trans_type must be 'msg'${typeof input === "string" ? `, not '${input.slice(0, 40)}'` : ""}`,
});

const PROTOCOL_CHARS_MOST = 20;
const protocolSchema = z.enum(["", "http"], {
  error: ({ input }) => {
    if (typeof input !== "string") return "protocol must be a string";
    return input.length > PROTOCOL_CHARS_MOST ? `protocol must have at most ${PROTOCOL_CHARS_MOST} characters` : "protocol must be 'http'";
  },
});

const PAYLOADS = "payloads must be an array of strings";
const HEADERS = "branch_headers must be an object of strings";
const NOT_AN_OBJECT = { error: "the body must be a JSON object" } as const;

/** The body of submit: unknown fields are ignored. What is wrong first is what the caller hears. */
export const submitSchema = z
  .object(
    {
      gid: gidSchema,
      trans_type: transTypeSchema,
      protocol: protocolSchema.nullish(),
      steps: z
        .array(stepSchema, { error: "steps must be an array" })
        .max(STEPS_MOST, `steps must have at most ${STEPS_MOST} entries`)
        .nullish(),
      payloads: z
        .array(storableLines({ name: "each of payloads", error: PAYLOADS }), { error: PAYLOADS })
        .nullish()
        .meta({ description: "one a step; a branch with a payload is a POST, one without a GET" }),
      query_prepared: text("query_prepared", URL_CHARS_MOST, storableLine),
      custom_data: text("custom_data", CUSTOM_DATA_CHARS_MOST, storableLines).meta({
        description: 'JSON text; `{"delay":seconds}` delays the delivery',
      }),
      branch_headers: z.record(z.string(), z.string({ error: HEADERS }), { error: HEADERS }).nullish(),
      concurrent: flag("concurrent"),
      wait_result: flag("wait_result"),
      timeout_to_fail: seconds("timeout_to_fail"),
      request_timeout: seconds("request_timeout"),
      retry_interval: seconds("retry_interval"),
    },
    NOT_AN_OBJECT,
  )
  .meta({ description: "Unknown fields are ignored" });

/** The body of prepare: the coordinator has to know whom to ask back. */
export const prepareSchema = submitSchema.extend({
  query_prepared: storableLine({
    name: "query_prepared",
    error: sentence("query_prepared must not be empty", "query_prepared must be a string"),
  })
    .min(1, "query_prepared must not be empty")
    .max(URL_CHARS_MOST, `query_prepared must have at most ${URL_CHARS_MOST} characters`),
});

export type MessageFields = z.output<typeof submitSchema>;

/** The body of abort, forceStop and the calls about one message. */
export const namedSchema = z.object(
  { gid: gidSchema, trans_type: transTypeSchema.optional(), rollback_reason: text("rollback_reason", REASON_CHARS_MOST, storableLines) },
  NOT_AN_OBJECT,
);

export const BulkCall = { prepare: "prepare", submit: "submit", submitPrepared: "submitPrepared", abort: "abort" } as const;
export type BulkCall = (typeof BulkCall)[keyof typeof BulkCall];

/** One call of a bulk request; its body is read as that call's, so that each is answered for itself. */
export const bulkCallSchema = z.object(
  {
    call: z.enum(BulkCall, { error: `call must be one of ${Object.values(BulkCall).join(", ")}` }).meta({
      description: "submitPrepared: of what the caller has prepared; its body holds the gid alone, and an unknown gid is a 404",
    }),
    body: z.looseObject({}, NOT_AN_OBJECT),
  },
  NOT_AN_OBJECT,
);
const BULK_SIZE = `the body must have at most ${BULK_MOST} calls`;
const BULK_ARRAY = "the body must be an array of calls";
/** Reads how many calls there are; each is read by bulkCallSchema. */
export const bulkSchema = z.array(z.unknown(), { error: BULK_ARRAY }).max(BULK_MOST, BULK_SIZE);
/** What a bulk request is, for the document. */
export const bulkDocumentSchema = z.array(bulkCallSchema, { error: BULK_ARRAY }).max(BULK_MOST, BULK_SIZE);
