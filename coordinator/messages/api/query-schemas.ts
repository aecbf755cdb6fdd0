import { z } from "zod";
import { storableLine } from "#protocol/text";
import { gidParameterSchema, topicNameSchema } from "./message-schemas.ts";

const PAGE_MOST = 1_000;

/** A parameter of a query string that is a text; none is the empty one. */
const text = (name: string) => storableLine({ name, error: `${name} must be given once` }).default("");

/** A parameter that is a whole number; dtm gives them all as text, and an empty one is none. */
const count = (name: string, least: number, most: number, fallback: number) => {
  const error = `${name} must be a whole number from ${least} to ${most}`;
  const number = z.int({ error }).min(least, error).max(most, error).default(fallback);
  return z.preprocess((value) => {
    if (value === undefined || value === "") return undefined;
    return typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
  }, number);
};

const limit = count("limit", 1, PAGE_MOST, 100).meta({ description: "1 to 1000, default 100" });
const position = text("position").meta({ description: "`next_position` of the page before; empty for the first" });
const sinceMs = (name: string) => count(name, 0, Number.MAX_SAFE_INTEGER, 0).meta({ description: "ms since 1970; 0: any" });

export const querySchema = z.object({ gid: gidParameterSchema.meta({ description: "its gid" }) });

export const pageSchema = z.object({ position, limit });

/** A gid asks for that message alone: what else is given is not read. */
export const allSchema = z.preprocess(
  (query) => {
    const { gid } = query as { readonly gid?: unknown };
    return gid === undefined || gid === "" ? { ...(query as object), gid: undefined } : { gid };
  },
  z.object({
    gid: gidParameterSchema.optional().meta({ description: "only this one" }),
    status: text("status").meta({ description: "only in this state" }),
    transType: text("transType").meta({ description: "only `msg`" }),
    createTimeStart: sinceMs("createTimeStart"),
    createTimeEnd: sinceMs("createTimeEnd"),
    position,
    limit,
  }),
);

export const resetSchema = z.object({ timeout: count("timeout", 0, 1_000_000_000, 0).meta({ description: "seconds" }), limit });

const url = (description: string) =>
  storableLine({ name: "url", error: ({ input }) => (input === undefined ? "url must not be empty" : "url must be given once") })
    .min(1, "url must not be empty")
    .meta({ description });

export const subscribeSchema = z.object({
  url: url("where steps of the topic go"),
  topic: topicNameSchema.meta({ description: "its name" }),
  remark: text("remark").meta({ description: "for people; the first 500 characters are kept" }),
});
export const unsubscribeSchema = z.object({ url: url("the subscriber's"), topic: topicNameSchema.meta({ description: "its name" }) });
export const topicSchema = z.object({ name: topicNameSchema });
