import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CallRefused, Coordinator, OutcomeUnknown } from "../../../coordinator/messages/client/index.ts";
import { until } from "../../harness/index.ts";
import { message, newGid } from "../../harness/messages/api.ts";
import { startCoordinator, startStores } from "../../harness/messages/coordinator.ts";
import { answer, inTurn, Services, type Received } from "../../harness/messages/services.ts";

/** How our client sends its calls; `services` stands where a coordinator would, with the faults of one. */
const BULK = "/api/dtmsvr/bulk";
const ABORT = "/api/dtmsvr/abort";
const SUCCESS = JSON.stringify({ dtm_result: "SUCCESS" });

let services: Services;
let client: Coordinator;
beforeEach(async () => {
  services = await Services.start();
  client = new Coordinator({ url: services.url, retryMs: 1, timeoutMs: 60_000 });
  services.on(ABORT, answer(200, SUCCESS));
});
afterEach(async () => {
  await client.close();
  await services.stop();
});

const callsIn = ({ body }: Received): readonly { readonly call: string; readonly body: { readonly gid: string } }[] =>
  JSON.parse(body) as { call: string; body: { gid: string } }[];
const abort = (gid: string): ReturnType<Coordinator["call"]> => client.call("abort", { gid });
const statuses = (...list: readonly number[]): string =>
  JSON.stringify({ answers: list.map((status) => ({ status, body: { dtm_result: "SUCCESS" } })) });

describe("the calls of our client", () => {
  it("of one turn of the event loop travel in one request, in order", async () => {
    services.on(BULK, (received, response) => void response.end(statuses(...callsIn(received).map(() => 200))));
    const gids = Array.from({ length: 20 }, (_, i) => `gid-${i}`);
    const answers = await Promise.all(gids.map(abort));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    expect(services.at(BULK).map((one) => callsIn(one).map(({ body }) => body.gid))).toEqual([gids]);
    expect(services.received).toHaveLength(1);
  });

  it("gather while a request is on the wire, and go beside it when it is late", async () => {
    const held: (() => void)[] = [];
    services.on(BULK, (received, response) => {
      held.push(() => response.end(statuses(...callsIn(received).map(() => 200))));
    });
    const first = [abort("a"), abort("b")];
    await until(() => held.length === 1, "the first request");
    const second = [abort("c"), abort("d")];
    await until(() => held.length === 2, "the second request, beside the first");
    held[1]?.();
    expect((await Promise.all(second)).map(({ status }) => status)).toEqual([200, 200]);
    held[0]?.();
    await Promise.all(first);
  });

  it("go alone, for good, to a server that has no bulk call: dtm's own", async () => {
    services.on(BULK, answer(404, "404 page not found"));
    expect((await Promise.all([abort("a"), abort("b")])).map(({ status }) => status)).toEqual([200, 200]);
    expect((await Promise.all([abort("c"), abort("d")])).map(({ status }) => status)).toEqual([200, 200]);
    expect([services.at(BULK).length, services.at(ABORT).length]).toEqual([1, 4]);
  });

  it("are each answered by their own: a fault of one is tried again alone, a mistake is told to its caller", async () => {
    services.on(BULK, answer(200, statuses(200, 500, 400, 409)));
    const answers = await Promise.allSettled([abort("fine"), abort("fault"), abort("mistake"), abort("conflict")]);
    expect(answers.map((one) => (one.status === "fulfilled" ? one.value.status : one.reason instanceof CallRefused))).toEqual([
      200,
      200,
      true,
      409,
    ]);
    expect(services.at(ABORT).map(({ body }) => JSON.parse(body))).toEqual([{ gid: "fault" }]);
  });

  it("hear a no that a server of before status codes says in the body of a 200", async () => {
    for (const [word, status] of [
      ["FAILURE", 409],
      ["ONGOING", 425],
      ["failure", 200],
    ] as const) {
      services.on(ABORT, answer(200, JSON.stringify({ dtm_result: word, message: "no" })));
      expect([word, (await abort("gid")).status]).toEqual([word, status]);
    }
  });

  it("are repeated a bounded number of times, then the outcome is unknown", async () => {
    services.on(ABORT, inTurn(500, 503, 200));
    expect((await abort("third time")).status).toBe(200);
    services.on(ABORT, answer(500));
    await expect(abort("never")).rejects.toBeInstanceOf(OutcomeUnknown);
    expect(services.at(ABORT)).toHaveLength(6);
  });

  it("fill requests that the coordinator takes, however large the messages are", async () => {
    const stores = await startStores(1);
    const coordinator = await startCoordinator(stores);
    const ours = new Coordinator({ url: coordinator.url, timeoutMs: 60_000 });
    try {
      const payload = JSON.stringify("x".repeat(10_000));
      const sent = Array.from({ length: 300 }, () => {
        const body = message(newGid("large"), [["", payload]]);
        return ours.call("submit", { ...body, gid: String(body["gid"]) });
      });
      expect((await Promise.all(sent)).every(({ status }) => status === 200)).toBe(true);
      const metrics = await (await fetch(`${coordinator.metrics}/metrics`)).text();
      const answered = [...metrics.matchAll(/^doorbuster_message_api_answers_total\{call="(\w+)",status="(\d+)"\}/gm)];
      expect(answered.map(([, call, status]) => `${call} ${status}`)).toEqual(["bulk 200"]);
    } finally {
      await ours.close();
      await coordinator.stop();
      await stores.stop();
    }
  });
});
