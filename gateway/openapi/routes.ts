import { z } from "zod";
import { OutcomeCode } from "../buy/outcome.ts";
import { purchaseSchema as purchaseBodySchema } from "../http/purchase.ts";
import { errorFrameSchema, outcomeFrameSchema, statusFrameSchema } from "../live/frame-schemas.ts";
import { upSchema } from "../live/frames.ts";
import { everyRefusal, fault, refusal, type DocumentedRoute, type Parameter } from "./documented-route.ts";
import { idSchema, orderIdSchema, purchaseKeySchema, purchaseSchema, saleSchema, standingSchema, ticketSchema } from "./schemas.ts";

const ticket: Parameter = { name: "ticket", in: "path", required: true, schema: ticketSchema };
const purchaseKey: Parameter = {
  name: "Idempotency-Key",
  in: "header",
  description:
    "names a purchase where the sale's limit is above one, bare or as a quoted string, which is the same key; where it is one, it is not looked at",
  schema: purchaseKeySchema,
};
const purchase = {
  schema: purchaseSchema,
  headers: {
    Location: z
      .string()
      .describe("where the standing can be asked for: `/buy/{ticket}?order=...`, with `&key=...` of a purchase that has a key"),
  },
};
const badTicket = [refusal("ticket_invalid"), refusal("ticket_expired")];

const buy: DocumentedRoute = {
  method: "post",
  path: "/buy/{ticket}",
  operationId: "buy",
  summary: "Buy; a repeat gets the first answer again",
  parameters: [
    ticket,
    purchaseKey,
    {
      name: "wait",
      in: "query",
      description: "hold the answer until the order is final, at most so many seconds (30 at most); wins over Prefer",
      schema: z.int().min(0),
    },
    {
      name: "Prefer",
      in: "header",
      description: "`wait=N`: the same; a page needs a preflight for it",
      schema: z.string(),
      example: "wait=5",
    },
  ],
  body: purchaseBodySchema,
  good: [
    { status: 200, description: "a repeat of a purchase whose order is stored", codes: ["confirmed"], ...purchase },
    { status: 201, description: "the order is stored (waited for)", codes: ["confirmed"], ...purchase },
    { status: 202, description: "units taken; the order is being stored", codes: ["reserved"], ...purchase },
  ],
  refusals: [
    ...badTicket,
    ...(["not_open", "closed", "paused", "sale_unknown", "too_large", "rate_limited", "origin_not_allowed"] as const).map((code) =>
      refusal(code),
    ),
    ...(["sold_out", "units_moving", "limit_reached", "rejected", "not_survived"] as const).map((code) => refusal(code)),
    ...(["recovering", "busy", "try_again"] as const).map((code) => refusal(code)),
    ...everyRefusal,
    fault,
  ],
};

const standing: DocumentedRoute = {
  method: "get",
  path: "/buy/{ticket}",
  operationId: "standing",
  summary: "This buyer's standing on this sale: the truth behind every push",
  parameters: [
    ticket,
    purchaseKey,
    { name: "key", in: "query", description: "what Idempotency-Key says, for a page that wants no preflight", schema: idSchema },
    {
      name: "order",
      in: "query",
      description:
        "the order id that the purchase was answered with, as Location has it: if that reservation did not survive a fail-over, the answer is `not_survived` instead of `none`",
      schema: orderIdSchema,
    },
  ],
  good: [
    {
      status: 200,
      description: "what is known of the order; `rejected` has a reason",
      schema: standingSchema,
      codes: ["none", "reserved", "confirmed", "rejected"],
    },
  ],
  refusals: [
    ...badTicket,
    refusal("sale_unknown"),
    refusal("rate_limited", "this buyer asks too often, or forged tickets come from this address"),
    refusal("not_survived"),
    ...(["recovering", "busy", "try_again"] as const).map((code) => refusal(code, "cannot be known at the moment")),
    ...everyRefusal,
    fault,
  ],
};

const saleHeaders = { ETag: z.string() } as const;

const sale: DocumentedRoute = {
  method: "get",
  path: "/sales/{id}",
  operationId: "sale",
  summary: "A sale, as cached bytes",
  description:
    "The same for everybody until the sale changes, so that proxies may keep it for a second; the server's time is at `GET /time`.",
  parameters: [
    { name: "id", in: "path", required: true, schema: idSchema },
    { name: "If-None-Match", in: "header", schema: z.string() },
  ],
  good: [
    { status: 200, description: "the sale", headers: saleHeaders, schema: saleSchema },
    { status: 304, description: "unchanged", headers: saleHeaders },
  ],
  refusals: [
    refusal("sale_unknown", "no such sale"),
    refusal("rate_limited", "too many reads from this address, of what has to be looked for or while others read much"),
    refusal("recovering", "not known here, and nobody could say whether it exists"),
    ...everyRefusal,
    fault,
  ],
};

const time: DocumentedRoute = {
  method: "get",
  path: "/time",
  operationId: "time",
  summary: "The server's wall clock, for count-downs; never cached",
  good: [
    {
      status: 200,
      description: "ms since 1970, to be set against a sale's `opensAtMs` and `closesAtMs`",
      headers: { "Doorbuster-Time": "Time" },
      schema: z.object({ nowMs: z.int() }),
    },
  ],
  refusals: [...everyRefusal, fault],
};

const live: DocumentedRoute = {
  method: "get",
  path: "/live",
  operationId: "live",
  summary: "WebSocket: buys, and hears of every order of its buyer that becomes final",
  description:
    'Up: BuyFrame, `{"op":"buy","ref":1,"units":1,"key":""}`, text frames of at most 1 kB; `units` and `key` may be left out. Down: OutcomeFrame, `{"op":"outcome","ref":1,"code":...,"orderId":...,"units":...}` with the codes of `POST /buy/{ticket}` (`repeat`, `retryAfterMs`, `opensAt`, `reason`, `detail` where they apply), StatusFrame, `{"op":"status","code":"confirmed"|"rejected"|"not_survived","orderId":...}`, after the OutcomeFrame of a purchase that was sent on this socket, and ErrorFrame, `{"op":"error","code":"bad_request"|"too_large","detail":...}`, for a frame that is not understood; the third closes with 1008, and the reason says what was wrong. 1012 means: connect again.',
  parameters: [{ name: "ticket", in: "query", required: true, schema: ticketSchema }],
  good: [{ status: 101, description: "upgraded" }],
  refusals: [
    ...badTicket,
    {
      code: OutcomeCode.badRequest,
      status: 426,
      meaning: "the request is no opening handshake of RFC 6455, or of another version than 13",
    },
    refusal("origin_not_allowed"),
    refusal("rate_limited", "this buyer has too many sockets in this sale"),
    refusal("busy", "this process has too many sockets or is stopping"),
    ...everyRefusal,
    fault,
  ],
  frames: { up: [upSchema], down: [outcomeFrameSchema, statusFrameSchema, errorFrameSchema] },
};

const health = (path: string, summary: string, status: string): Omit<DocumentedRoute, "refusals"> => ({
  method: "get",
  path,
  operationId: path.slice(1),
  summary,
  good: [{ status: 200, description: status, schema: z.object({ status: z.literal(status) }) }],
});
const detail = z.string().optional().describe("what is wrong with its settings, or with a shard, all the same; for a person");

/** Everything that plugin.ts mounts, by what it may answer. */
export const documentedRoutes: readonly DocumentedRoute[] = [
  buy,
  standing,
  sale,
  time,
  live,
  { ...health("/healthz", "This process answers", "alive"), refusals: everyRefusal },
  {
    ...health("/readyz", "This process can sell", "ready"),
    good: [{ status: 200, description: "ready", schema: z.object({ status: z.literal("ready"), detail }) }],
    refusals: [refusal("recovering", "starting or stopping"), ...everyRefusal, fault],
  },
];
