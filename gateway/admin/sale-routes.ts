import { z } from "zod";
import { operation, type ZodServer } from "#program/zod-routes";
import { ID_PATTERN, isId } from "#protocol/ids";
import { isReadable, unreadableSaleSchema, type ListedSale } from "#protocol/listed-sale";
import { addUnitsSchema, changeSaleSchema, RequestError, type Reply } from "#protocol/requests";
import { openSaleSchema, saleRecordSchema } from "#protocol/sale";
import { answers } from "./answers.ts";
import { forward, refuse } from "./problem.ts";
import type { WorkerRequests } from "./worker-requests.ts";

const listed = z.union([saleRecordSchema, unreadableSaleSchema]);
const sale = { description: "the sale as it is now", schema: saleRecordSchema };
const saleId = changeSaleSchema.pick({ id: true });
/** Any text is looked for: what cannot be an id is not found. */
const anyId = z.object({ id: z.string().meta({ pattern: ID_PATTERN.source }) });

const listQuery = z.object({
  archived: z.enum(["true", "false"]).default("false").describe("with the thousand archived sales that were opened last"),
});
const NONE: Reply<readonly ListedSale[]> = { ok: true, value: [] };

/** Sales: list, open, look at, change, add stock. */
export const saleRoutes = (server: ZodServer, workers: WorkerRequests): void => {
  const list = operation({
    operationId: "listSales",
    summary: "Every sale that is not archived, the newest last",
    querystring: listQuery,
    response: answers(
      { description: "the sales; of one whose record cannot be read, what is wrong with it", schema: z.array(listed) },
      [400, 401, 503],
    ),
  });
  server.get("/sales", { schema: list }, async ({ query }, reply) =>
    forward(reply, await workers.list({ archived: query.archived === "true" })),
  );

  const open = operation({
    operationId: "openSale",
    summary: "Put a sale on sale; the same again is the same sale, another one under its id a conflict",
    body: openSaleSchema,
    response: answers({ ...sale, status: 201 }, [400, 401, 409, 503]),
  });
  server.post("/sales", { schema: open }, async ({ body }, reply) => forward(reply, await workers.open(body), 201));

  const show = operation({ operationId: "showSale", summary: "One sale", params: anyId, response: answers(sale, [401, 404, 503]) });
  server.get("/sales/:id", { schema: show }, async ({ params }, reply) => {
    const answer = isId(params.id) ? await workers.find([params.id]) : NONE;
    if (!answer.ok) return forward(reply, answer);
    const [found] = answer.value;
    if (found === undefined) return refuse(reply, 404, RequestError.notFound, `There is no sale ${params.id}.`);
    if (isReadable(found)) return reply.send(found);
    return refuse(reply, 503, RequestError.unavailable, `The record of sale ${params.id} cannot be read: ${found.problem}`);
  });

  const change = operation({
    operationId: "changeSale",
    summary: "Pause, resume, close or archive; closed is for good, and only what is over can be archived",
    params: saleId,
    body: changeSaleSchema.omit({ id: true }),
    response: answers(sale, [400, 401, 404, 409, 503]),
  });
  server.post("/sales/:id/state", { schema: change }, async ({ params, body }, reply) =>
    forward(reply, await workers.change({ ...params, ...body })),
  );

  const add = operation({
    operationId: "addUnits",
    summary: "Add stock, once per grantId",
    params: saleId,
    body: addUnitsSchema.omit({ saleId: true }),
    response: answers(sale, [400, 401, 404, 409, 503]),
  });
  server.post("/sales/:id/units", { schema: add }, async ({ params, body }, reply) =>
    forward(reply, await workers.addUnits({ ...body, saleId: params.id })),
  );
};
