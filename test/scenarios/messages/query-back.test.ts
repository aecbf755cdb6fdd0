import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Barrier, Coordinator, Message, OutcomeUnknown, statusOf, Step } from "../../../coordinator/messages/client/index.ts";
import { until } from "../../harness/index.ts";
import { Api, message, newGid } from "../../harness/messages/api.ts";
import { crashBuying } from "../../harness/messages/crash.ts";
import { startCoordinator, startStores, type RunningCoordinator, type Stores } from "../../harness/messages/coordinator.ts";
import { startOldService } from "../../harness/messages/old-service.ts";
import { answer, inTurn, Services } from "../../harness/messages/services.ts";

let stores: Stores;
let coordinator: RunningCoordinator;
let services: Services;
let api: Api;
let client: Coordinator;
let redis: Redis;

beforeAll(async () => {
  [stores, services] = await Promise.all([startStores(2), Services.start()]);
  coordinator = await startCoordinator(stores, { DOORBUSTER_MESSAGE_ROUNDS: "4" });
  api = new Api(coordinator.url);
  client = new Coordinator({ url: coordinator.url });
  redis = new Redis(stores.redis[0]?.url ?? "");
  services.on("/query", async (received, response) => {
    response.writeHead(statusOf(await Barrier.fromRequest(received.query).queryPrepared(redis))).end();
  });
});
afterAll(async () => {
  redis?.disconnect();
  await client?.close();
  await coordinator?.stop();
  await Promise.all([services?.stop(), stores?.stop()]);
});

const prepare = async (queryUrl: string, more: Readonly<Record<string, unknown>> = {}): Promise<string> => {
  const gid = newGid("query-back");
  const body = message(gid, [[`${services.url}/branch`, "{}"]], { query_prepared: queryUrl, ...more });
  expect((await api.post("/prepare", body)).status).toBe(200);
  return gid;
};

describe("the query-back", () => {
  it.each([
    [200, "succeed", 1],
    [204, "succeed", 1],
    [409, "failed", 0],
  ])("that answers %i makes the message %s", async (status, state, delivered) => {
    const path = `/query-${status}`;
    const gid = await prepare(services.on(path, answer(status)));
    await api.until(gid, state);
    expect(services.at("/branch", gid)).toHaveLength(delivered);
    expect(services.at(path, gid)).toMatchObject([{ method: "GET", query: { gid, trans_type: "msg", branch_id: "00", op: "msg" } }]);
  });

  it("says no in the body of a 2xx by dtm_result alone, and by exactly its words", async () => {
    const no = ['{"dtm_result":"FAILURE"}', ' {"message":"none","dtm_result":"FAILURE","more":[1]}\n', '\uFEFF{"dtm_result":"FAILURE"}'];
    no.push(
      '{"dtm_result":"SUCCESS","dtm_result":"FAILURE"}',
      '{"dtm\\u005fresult":"FAILURE"}',
      `{"pad":"${"x".repeat(200_000)}","dtm_result":"FAILURE"}`,
    );
    const yes = [
      '{"dtm_result":"SUCCESS"}',
      '{"dtm_result":"failure"}',
      '{"dtm_result":" FAILURE"}',
      '{"dtm_result":["FAILURE"]}',
      "FAILURE",
    ];
    yes.push(
      '"FAILURE"',
      '{"result":{"dtm_result":"FAILURE"}}',
      '[{"dtm_result":"FAILURE"}]',
      '{"message":"FAILURE"}',
      '{"dtm_result":"FAILURE"',
    );
    yes.push('{"Dtm_Result":"FAILURE"}', '{"dtm_result":"toString"}', '{"dtm_result":null}', "null", "<html>ONGOING</html>");
    const endings = async (bodies: readonly string[], more: Readonly<Record<string, string>>, status = 200): Promise<readonly string[]> =>
      Promise.all(
        bodies.map(async (body, n) => {
          const gid = await prepare(services.on(`/words-${n}-${bodies.length}-${status}`, answer(status, body, more)));
          let ending = "";
          await until(async () => ["succeed", "failed"].includes((ending = await api.status(gid))), `an end after ${body.slice(0, 60)}`);
          return ending;
        }),
      );
    expect(await endings(no, { "content-type": "text/plain" })).toEqual(no.map(() => "failed"));
    expect(await endings(no.slice(0, 1), {}, 206)).toEqual(["failed"]);
    expect(await endings(yes, {})).toEqual(yes.map(() => "succeed"));
  });

  it("that says ONGOING in a 200 is asked again, and that never makes a dead letter; a word beside another status decides nothing", async () => {
    const ongoing = '{"dtm_result":"ONGOING"}';
    let asked = 0;
    const later = services.on("/words-ongoing", (received, response) => {
      asked += 1;
      return answer(200, asked < 7 ? ongoing : '{"dtm_result":"SUCCESS"}')(received, response);
    });
    const no = services.on("/words-409", answer(409, ongoing));
    const gids = await Promise.all([prepare(later), prepare(no)]);
    await Promise.all([api.until(gids[0], "succeed"), api.until(gids[1], "failed")]);
    expect(services.at("/words-ongoing", gids[0])).toHaveLength(7);
  });

  it("whose yes does not come whole has not answered: it breaks off, or is longer than anybody reads", async () => {
    let asked = 0;
    const url = services.on("/not-whole", (received, response) => {
      asked += 1;
      if (asked === 1) response.writeHead(200, { "content-length": "24" }).write('{"dtm_result":', () => response.destroy());
      else if (asked === 2) response.writeHead(200).end(`{"pad":"${"x".repeat(300_000)}","dtm_result":"FAILURE"}`);
      else return answer(200, '{"dtm_result":"FAILURE"}')(received, response);
    });
    const gid = await prepare(url);
    await until(
      async () => String((await api.transaction(gid))?.["last_error"]).includes("more than 262144 bytes"),
      "the long answer to be noted",
    );
    await api.until(gid, "failed");
    expect(services.at("/not-whole", gid)).toHaveLength(3);
  });

  it("of a Python service that knows no status codes is understood", async (context) => {
    const old = await startOldService();
    if (old === undefined) return context.skip("no python3");
    try {
      const [yes, no] = await Promise.all(["SUCCESS", "FAILURE"].map((word) => prepare(`${old.url}/${word}/query`)));
      await Promise.all([api.until(yes as string, "succeed"), api.until(no as string, "failed")]);
      expect(services.at("/branch", yes)).toHaveLength(1);
      expect(services.at("/branch", no)).toEqual([]);
    } finally {
      await old.stop();
    }
    return undefined;
  });

  it("is repeated while it answers 425, and that never makes a dead letter", async () => {
    const gid = await prepare(services.on("/query-ongoing", inTurn(425, 425, 425, 425, 425, 425, 200)));
    await api.until(gid, "succeed");
    expect(services.at("/query-ongoing", gid)).toHaveLength(7);
  });

  it("is repeated while it fails, then the message is a dead letter that an operator decides", async () => {
    const gid = await prepare(services.on("/query-broken", answer(500)));
    await until(async () => (await api.transaction(gid))?.["dead"] === true, "the message to be a dead letter");
    expect(await api.transaction(gid)).toMatchObject({ status: "prepared" });
    expect((await api.post("/deadLetters/fail", { gid })).status).toBe(200);
    await api.until(gid, "failed");
  });

  it("comes after the message's own timeout_to_fail, below a second too, and not before", async () => {
    const queryUrl = services.on("/query-time", answer(409));
    const at = performance.now();
    const gid = await prepare(queryUrl, { timeout_to_fail: 0.4 });
    await api.until(gid, "failed");
    expect((services.at("/query-time", gid)[0]?.atMs ?? 0) - at).toBeGreaterThanOrEqual(395);
  });
});

const crash = (gid: string, dieAt: "prepared" | "stepped"): Promise<void> =>
  crashBuying({
    coordinator: coordinator.url,
    redis: stores.redis[0]?.url ?? "",
    gid,
    stockKey: `stock:${gid}`,
    dieAt,
    query: `${services.url}/query`,
    branch: `${services.url}/order`,
  });

describe("a caller killed between prepare and submit", () => {
  it("after its step: the query-back submits the message", async () => {
    const gid = newGid("killed-after");
    await redis.set(`stock:${gid}`, 1);
    await crash(gid, "stepped");
    await api.until(gid, "succeed");
    expect(services.at("/order", gid)).toHaveLength(1);
    expect(await redis.get(`stock:${gid}`)).toBe("0");
  });

  it("before its step: the query-back fails the message", async () => {
    const gid = newGid("killed-before");
    await redis.set(`stock:${gid}`, 1);
    await crash(gid, "prepared");
    await api.until(gid, "failed");
    expect(services.at("/order", gid)).toHaveLength(0);
    expect(await redis.get(`stock:${gid}`)).toBe("1");
  });
});

describe("a step that is late", () => {
  it("is barred once the query-back said that it did not happen", async () => {
    const gid = newGid("late");
    await redis.set(`stock:${gid}`, 1);
    let made: Step | undefined;
    const sent = await new Message(gid, client)
      .add(`${services.url}/order`, { gid })
      .doAndSubmit(`${services.url}/query`, async (barrier) => {
        // paused here for longer than timeout_to_fail
        await api.until(gid, "failed");
        made = await barrier.checkAdjustAmount(redis, `stock:${gid}`, -1);
        return made;
      });
    // not done and taken back: never done
    expect(made).toBe(Step.failure);
    expect(sent).toMatchObject({ status: "failed" });
    expect(await redis.get(`stock:${gid}`)).toBe("1");
    expect(services.at("/order", gid)).toEqual([]);
  });

  it("that throws after it happened is asked about at the query URL, and submitted", async () => {
    const gid = newGid("throws");
    await redis.set(`stock:${gid}`, 1);
    const sent = await new Message(gid, client)
      .add(`${services.url}/order`, { gid })
      .set({ timeoutToFailS: 60 })
      .doAndSubmit(`${services.url}/query`, async (barrier) => {
        await barrier.checkAdjustAmount(redis, `stock:${gid}`, -1);
        throw new Error("the answer was lost");
      });
    expect(sent).toEqual({ status: "submitted", duplicate: false });
    await api.until(gid, "succeed");
  });

  it("that throws is asked about at a query URL that says no in the body of a 200: it is aborted", async () => {
    const gid = newGid("says-no");
    const query = services.on("/query-says-no", answer(200, '{"dtm_result":"FAILURE"}'));
    const sending = new Message(gid, client)
      .add(`${services.url}/order`, {})
      .set({ timeoutToFailS: 60 })
      .doAndSubmit(query, async (): Promise<Step> => {
        throw new Error("the answer was lost");
      });
    expect(await sending).toMatchObject({ status: "failed" });
    expect(await api.status(gid)).toBe("failed");
  });

  it("that throws while its query URL is away leaves it to the query-back", async () => {
    const gid = newGid("unknown");
    const query = services.on("/query-away", inTurn(503, 503, 409));
    const sending = new Message(gid, client).add(`${services.url}/order`, {}).doAndSubmit(query, async (): Promise<Step> => {
      throw new Error("who knows");
    });
    await expect(sending).rejects.toBeInstanceOf(OutcomeUnknown);
    await api.until(gid, "failed");
  });
});
