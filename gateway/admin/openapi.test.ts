import { Ajv2020, type AnySchema } from "ajv/dist/2020.js";
import { beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { addUnitsSchema, changeSaleSchema, RequestError } from "#protocol/requests";
import { changeOrderSchema, OrderChange, orderRecordSchema, paidOrderSchema, payOrderSchema, type OrderRecord } from "#protocol/order";
import { openSaleSchema, saleRecordSchema, type SaleRecord } from "#protocol/sale";
import { ShardChange, shardFactsSchema, type ShardFacts } from "#protocol/shard-facts";
import { openApiDocument } from "../../test/harness/openapi.ts";
import { createAdmin, mountAdmin } from "./admin.ts";
import { adminDocument } from "./openapi.ts";
import type { WorkerRequests } from "./worker-requests.ts";

const TOKEN = "an-admin-token-for-tests";

interface Operation {
  readonly responses: Readonly<Record<string, { readonly $ref?: string; readonly content?: Content }>>;
  readonly requestBody?: { readonly content: Content };
}
type Content = Readonly<Record<string, { readonly schema: AnySchema }>>;
interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<"get" | "post", Operation | undefined>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, AnySchema>>;
    readonly responses: Readonly<Record<string, { readonly content: Content }>>;
  };
}
const sale: SaleRecord = {
  id: "a",
  campaign: "default",
  title: "A",
  totalUnits: 5,
  priceMinor: 0,
  currency: "CNY",
  opensAtMs: 1_000_000_000_000,
  closesAtMs: 2_000_000_000_000,
  limitPerBuyer: 1,
  payWithinMs: 0,
  state: "open",
  shards: [0],
  version: 1,
};
const shard: ShardFacts = {
  shard: 0,
  state: "recovering",
  epoch: 3,
  redisEpoch: 2,
  mode: "rebuild",
  holder: "here/7",
  outboxEntries: 0,
  oldestMs: null,
  sales: 1,
  units: { left: 5, reserved: 0, sold: 0, arriving: 0 },
  memory: { usedBytes: 1_000_000, mostBytes: 0 },
  halted: null,
  draining: false,
  attempt: { holder: "here/7", phase: "restore", orders: 10, ofUnits: 20, result: null, agoMs: 40 },
};

const order: OrderRecord = {
  saleId: "a",
  uid: "ann",
  orderId: "0-1-1-0",
  units: 1,
  state: "paid",
  reservedAtMs: 1,
  payByMs: null,
  changedAtMs: 2,
  payments: [{ paymentId: "p", amountMinor: null, decision: "kept", told: 1 }],
};

/** What every request to the workers is answered; undefined = with what it asks for. */
let refusal: RequestError | undefined;
const asked: unknown[] = [];
const answer = <T>(value: T) =>
  Promise.resolve(refusal === undefined ? { ok: true as const, value } : { ok: false as const, code: refusal, detail: "because" });
const workers: WorkerRequests = {
  list: () => answer([sale]),
  find: (ids) => answer(ids.includes(sale.id) ? [sale] : []),
  open: () => answer(sale),
  change: () => answer(sale),
  addUnits: () => answer(sale),
  order: (address) => {
    asked.push(address);
    return answer(order);
  },
  payOrder: (pay) => {
    asked.push(pay);
    return answer({ decision: "kept", order });
  },
  changeOrder: (change) => {
    asked.push(change);
    return answer(order);
  },
  shards: () => answer([shard]),
  changeShard: (change) => {
    asked.push(change);
    return answer(shard);
  },
};
beforeEach(() => {
  refusal = undefined;
  asked.length = 0;
});

const routes = new Set<string>();
const admin = createAdmin({
  tokens: () => [TOKEN],
  workers,
  onFault: (error) => {
    throw error;
  },
  onRoute: (method, path) => routes.add(`${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, "{$1}")}`),
});
const text = await openApiDocument({
  ...adminDocument,
  mount: (app) => mountAdmin(app, { workers }),
});
const openApi = JSON.parse(text) as OpenApi;

const ajv = new Ajv2020({ strict: false });
const isValid = (schema: AnySchema, value: unknown): true | string =>
  ajv.validate({ ...(schema as object), components: openApi.components }, value) || ajv.errorsText();
const contentOf = (path: string, method: "get" | "post", status: number): Content => {
  const response = openApi.paths[path]?.[method]?.responses[status];
  const found =
    response?.$ref === undefined ? response?.content : openApi.components.responses[response.$ref.split("/").at(-1) ?? ""]?.content;
  if (found === undefined) throw new Error(`${method} ${path} does not promise ${status}`);
  return found;
};

const bodies: Readonly<Record<string, unknown>> = {
  "/sales": { id: "a", title: "A", units: 5, opensAtMs: 1_000_000_000_000, closesAtMs: 2_000_000_000_000 },
  "/sales/{id}/state": { state: "paused" },
  "/sales/{id}/units": { grantId: "g", units: 1 },
  "/orders/{orderId}/payments": { saleId: "a", uid: "ann", paymentId: "p" },
  "/orders/{orderId}/cancel": { saleId: "a", uid: "ann" },
  "/orders/{orderId}/refund": { saleId: "a", uid: "ann" },
  "/shards/{shard}/discard": { loseUnconfirmed: true },
};
const everything = Object.entries(openApi.paths).flatMap(([path, item]) =>
  (["get", "post"] as const).filter((method) => item[method] !== undefined).map((method) => [method, path] as const),
);
const send = (method: "get" | "post", path: string, token: string, body = bodies[path]) =>
  admin.inject({
    method: method === "get" ? "GET" : "POST",
    url: `${path.replace("{id}", "a").replace("{shard}", "0").replace("{orderId}", order.orderId)}${path === "/orders/{orderId}" ? "?saleId=a&uid=ann" : ""}`,
    headers: token === "" ? {} : { authorization: `Bearer ${token}` },
    ...(method === "get" || body === undefined ? {} : { payload: body as object }),
  });

describe("openapi.json of the admin API", () => {
  it("is what `npm run openapi` writes", async () => {
    await expect(text).toMatchFileSnapshot("openapi.json");
  });

  it("has the routes that there are, and no other", () => {
    expect(everything.map(([method, path]) => `${method} ${path}`).toSorted()).toEqual(
      [...routes].filter((route) => !route.startsWith("head")).toSorted(),
    );
  });

  it("has the fields that the protocol has", () => {
    const plain = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map((item) => plain(item));
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(
        Object.entries(value)
          .filter(([key, item]) => key !== "$schema" && key !== "description" && !(key === "maximum" && item === Number.MAX_SAFE_INTEGER))
          .map(([key, item]) => [key, plain(item)]),
      );
    };
    const inProtocol = (schema: z.ZodType): unknown => plain(z.toJSONSchema(schema, { io: "input" }));
    const { schemas } = openApi.components;
    expect(plain(schemas["Shard"])).toEqual(inProtocol(shardFactsSchema));
    expect(plain(schemas["Sale"])).toEqual(inProtocol(saleRecordSchema));
    expect(plain(schemas["OpenSale"])).toEqual(inProtocol(openSaleSchema));
    expect(plain(schemas["Order"])).toEqual(inProtocol(orderRecordSchema));
    expect({ ...(plain(schemas["PaidOrder"]) as object), properties: {} }).toEqual({
      ...(inProtocol(paidOrderSchema) as object),
      properties: {},
    });
    const bodyOf = (path: string): unknown => plain(openApi.paths[path]?.post?.requestBody?.content["application/json"]?.schema);
    expect(bodyOf("/sales/{id}/state")).toEqual(inProtocol(changeSaleSchema.omit({ id: true })));
    expect(bodyOf("/sales/{id}/units")).toEqual(inProtocol(addUnitsSchema.omit({ saleId: true })));
    expect(bodyOf("/orders/{orderId}/payments")).toEqual(inProtocol(payOrderSchema.omit({ orderId: true })));
    for (const change of Object.values(OrderChange))
      expect(bodyOf(`/orders/{orderId}/${change}`)).toEqual(inProtocol(changeOrderSchema.omit({ orderId: true, change: true })));
  });

  it.each(everything)("is kept by what %s %s answers", async (method, path) => {
    const good = await send(method, path, TOKEN);
    const [type = "", { schema } = { schema: {} }] = Object.entries(contentOf(path, method, good.statusCode))[0] ?? [];
    expect(good.headers["content-type"]).toContain(type);
    if (type === "application/json") expect(isValid(schema, good.json())).toBe(true);
    if (path === "/healthz") return;

    const expectRefusal = async (status: number, token = TOKEN, body = bodies[path]): Promise<void> => {
      const refused = await send(method, path, token, body);
      expect(refused.statusCode).toBe(status);
      expect(refused.headers["content-type"]).toContain("application/problem+json");
      expect(isValid(contentOf(path, method, status)["application/problem+json"]?.schema ?? false, refused.json())).toBe(true);
    };
    await expectRefusal(401, "");
    for (const [code, status] of [
      ["unavailable", 503],
      ["conflict", 409],
      ["overtaken", 409],
      ["not_found", 404],
      ["bad_request", 400],
    ] as const) {
      if (openApi.paths[path]?.[method]?.responses[status] === undefined) continue;
      refusal = code;
      // what was not asked for at all is not found by the gateway itself
      if (!(path === "/sales/{id}" && status === 404)) await expectRefusal(status);
      refusal = undefined;
    }
  });

  it("names a sale that there is not", async () => {
    const { statusCode, body } = await admin.inject({ url: "/sales/b", headers: { authorization: `Bearer ${TOKEN}` } });
    expect([statusCode, JSON.parse(body)]).toMatchObject([404, { code: "not_found", detail: "There is no sale b." }]);
  });

  it("asks the workers about exactly the order that is named, and about none that cannot be one", async () => {
    const address = { saleId: "a", uid: "ann", orderId: order.orderId };
    await send("get", "/orders/{orderId}", TOKEN);
    await send("post", "/orders/{orderId}/payments", TOKEN, { saleId: "a", uid: "ann", paymentId: "p", amountMinor: 5 });
    for (const change of ["cancel", "refund"]) await send("post", `/orders/{orderId}/${change}`, TOKEN);
    expect(asked).toEqual([
      address,
      { ...address, paymentId: "p", amountMinor: 5 },
      { ...address, change: "cancel" },
      { ...address, change: "refund" },
    ]);
    const wrong = await admin.inject({ url: "/orders/no-order?saleId=a&uid=ann", headers: { authorization: `Bearer ${TOKEN}` } });
    expect([wrong.statusCode, wrong.json()]).toMatchObject([400, { code: "bad_request" }]);
    expect(asked).toHaveLength(4);
  });

  it("asks the workers for each change of a shard, and for none without its number or the consent", async () => {
    for (const change of Object.values(ShardChange)) expect((await send("post", `/shards/{shard}/${change}`, TOKEN)).statusCode).toBe(200);
    expect(asked).toEqual(Object.values(ShardChange).map((change) => ({ shard: 0, change })));
    for (const body of [undefined, {}, { loseUnconfirmed: false }, { loseUnconfirmed: true, more: 1 }]) {
      const refused = await admin.inject({
        method: "POST",
        url: "/shards/0/discard",
        headers: { authorization: `Bearer ${TOKEN}` },
        ...(body === undefined ? {} : { payload: body }),
      });
      expect([refused.statusCode, refused.json()]).toMatchObject([400, { code: "bad_request" }]);
    }
    for (const number of ["x", "-1", "1.5", "999999"]) expect((await send("post", `/shards/${number}/drain`, TOKEN)).statusCode).toBe(400);
    expect(asked).toHaveLength(Object.values(ShardChange).length);
  });
});
