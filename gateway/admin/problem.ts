import type { FastifyReply } from "fastify";
import { z } from "zod";
import { RequestError, type Reply } from "#protocol/requests";

export const problemSchema = z
  .object({ code: z.string(), title: z.string(), status: z.int(), detail: z.string() })
  .meta({ description: "RFC 9457" });

export const STATUS = {
  bad_request: 400,
  not_found: 404,
  conflict: 409,
  overtaken: 409,
  unavailable: 503,
} as const satisfies Readonly<Record<RequestError, number>>;
const TITLES: Readonly<Record<number, string>> = {
  400: "The request is malformed",
  401: "The credential is missing or wrong",
  404: "Not found",
  409: "Conflict with what is there",
  413: "The request is too large",
  415: "The body must be application/json",
  500: "Something broke",
  503: "A store is away",
};
export const UNAUTHORIZED = "unauthorized";

export const refuse = (reply: FastifyReply, status: number, code: string, detail: string): FastifyReply => {
  if (status === 503) void reply.header("retry-after", "1");
  if (status === 401) void reply.header("www-authenticate", "Bearer");
  return reply
    .code(status)
    .type("application/problem+json")
    .send(JSON.stringify({ code, title: TITLES[status] ?? "Refused", status, detail } satisfies z.infer<typeof problemSchema>));
};

/** Answers with what a worker replied. */
export const forward = <T>(reply: FastifyReply, answer: Reply<T>, status = 200): FastifyReply =>
  answer.ok ? reply.code(status).send(answer.value) : refuse(reply, STATUS[answer.code], answer.code, answer.detail);
