import { z } from "zod";
import { RequestError } from "#protocol/requests";
import { problemSchema, STATUS, UNAUTHORIZED } from "./problem.ts";

/** A status that a route of this API may refuse with; every route may answer 401. */
type RefusalStatus = (typeof STATUS)[RequestError] | 401;

const MEANINGS: Readonly<Record<RefusalStatus, string>> = {
  400: "the request is malformed; nothing was changed",
  401: "the credential is missing or wrong",
  404: "there is no such thing",
  409: "refused, and nothing was changed",
  503: "nobody answered, or a store is away: a change may have been made, and can be repeated",
};
const HEADERS: Readonly<Partial<Record<RefusalStatus, Readonly<Record<string, z.ZodType>>>>> = {
  401: { "WWW-Authenticate": z.literal("Bearer") },
  503: { "Retry-After": z.int().min(1) },
};

const codesOf = (status: RefusalStatus): readonly string[] =>
  status === 401 ? [UNAUTHORIZED] : Object.values(RequestError).filter((code) => STATUS[code] === status);

const refusal = (status: RefusalStatus): unknown => ({
  description: MEANINGS[status],
  ...(HEADERS[status] === undefined ? {} : { headers: HEADERS[status] }),
  content: { "application/problem+json": { schema: z.intersection(problemSchema, z.object({ code: z.enum(codesOf(status)) })) } },
});

/** What a route answers where all goes well, for the document. */
export interface AdminAnswer {
  readonly description: string;
  readonly schema: z.ZodType;
  /** 200 by default */
  readonly status?: 201;
  /** application/json by default */
  readonly type?: string;
}

/** A route's `response`: the good answer, and each refusal that it may give. */
export const answers = (
  { description, schema, status, type = "application/json" }: AdminAnswer,
  refusals: readonly RefusalStatus[],
): Readonly<Record<number, unknown>> => ({
  [status ?? 200]: { description, content: { [type]: { schema } } },
  ...Object.fromEntries(refusals.map((refused) => [refused, refusal(refused)])),
});
