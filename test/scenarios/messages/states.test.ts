import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Api, message, newGid } from "../../harness/messages/api.ts";
import { startCoordinator, startStores, type RunningCoordinator, type Stores } from "../../harness/messages/coordinator.ts";
import { answer, Services } from "../../harness/messages/services.ts";

let stores: Stores;
let coordinator: RunningCoordinator;
let services: Services;
let api: Api;

beforeAll(async () => {
  [stores, services] = await Promise.all([startStores(2), Services.start()]);
  coordinator = await startCoordinator(stores, { DOORBUSTER_MESSAGE_QUERY_AFTER_MS: "60000" });
  api = new Api(coordinator.url);
  services.on("/never", answer(500));
});
afterAll(async () => {
  await coordinator?.stop();
  await Promise.all([services?.stop(), stores?.stop()]);
});

/** Brings a new message into a state, with a branch that is called or one that never succeeds. */
const bring = async (state: string): Promise<string> => {
  const gid = newGid(state);
  const body = message(gid, [[`${services.url}/${state === "submitted" ? "never" : "branch"}`, "{}"]], {
    query_prepared: `${services.url}/query`,
  });
  if (state === "none") return gid;
  if (state === "prepared" || state === "failed") expect((await api.post("/prepare", body)).status).toBe(200);
  if (state === "failed") expect((await api.post("/abort", { gid, trans_type: "msg" })).status).toBe(200);
  if (state === "submitted" || state === "succeed") expect((await api.post("/submit", body)).status).toBe(200);
  await api.until(gid, state);
  return gid;
};

/** reference/dtm-api.md, "ours": call, state before, status, state after */
const TABLE: readonly (readonly [call: string, before: string, status: number, after: string])[] = [
  ["prepare", "none", 200, "prepared"],
  ["prepare", "prepared", 200, "prepared"],
  ["prepare", "submitted", 409, "submitted"],
  ["prepare", "succeed", 409, "succeed"],
  ["prepare", "failed", 409, "failed"],
  ["submit", "none", 200, "succeed"],
  ["submit", "prepared", 200, "succeed"],
  ["submit", "submitted", 200, "submitted"],
  ["submit", "succeed", 200, "succeed"],
  ["submit", "failed", 409, "failed"],
  ["abort", "none", 404, "none"],
  ["abort", "prepared", 200, "failed"],
  ["abort", "submitted", 409, "submitted"],
  ["abort", "succeed", 409, "succeed"],
  ["abort", "failed", 200, "failed"],
  ["forceStop", "none", 404, "none"],
  ["forceStop", "prepared", 200, "failed"],
  ["forceStop", "submitted", 200, "failed"],
  ["forceStop", "succeed", 409, "succeed"],
  ["forceStop", "failed", 409, "failed"],
  ["resetNextCronTime", "none", 404, "none"],
  ["resetNextCronTime", "prepared", 200, "succeed"],
  ["resetNextCronTime", "submitted", 200, "submitted"],
  ["resetNextCronTime", "succeed", 409, "succeed"],
  ["resetNextCronTime", "failed", 409, "failed"],
];

describe("call x state", () => {
  it.each(TABLE)("%s of a message that is %s: %i, then %s", async (call, before, status, after) => {
    const gid = await bring(before);
    const body =
      call === "prepare" || call === "submit"
        ? message(gid, [[`${services.url}/branch`, "{}"]], { query_prepared: `${services.url}/query` })
        : { gid, trans_type: "msg" };
    const calledBefore = services.at("/branch", gid).length;
    const reply = await api.post(`/${call}`, body);
    expect(reply.status).toBe(status);
    // dtm's Go client takes a call as done if the status is 200 and the body has no FAILURE
    expect(JSON.stringify(reply.body).includes("FAILURE")).toBe(status !== 200);
    if (status === 200) expect(reply.body).toEqual({ dtm_result: "SUCCESS" });
    if (status === 409 && call !== "resetNextCronTime")
      expect(reply.body["message"]).toMatch(new RegExp(`^current status '${before}', cannot `));
    if (after === "none") expect(await api.transaction(gid)).toBeNull();
    else await api.until(gid, after);
    // nothing runs twice because a caller repeats itself
    if (before === "succeed" || before === "submitted") expect(services.at("/branch", gid)).toHaveLength(calledBefore);
  });

  it.each(["prepare", "submit", "abort", "forceStop", "resetNextCronTime"])("%s without a gid: 400", async (call) => {
    const reply = await api.post(`/${call}`, { ...message("", []), query_prepared: services.url });
    expect(reply).toEqual({ status: 400, body: { dtm_result: "FAILURE", message: "gid must not be empty" } });
  });

  it("a submit repeated while the branch is on the wire does not call it again", async () => {
    const gid = newGid("twice");
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const url = services.on("/held", async (_received, response) => {
      await opened;
      response.end();
    });
    // a busy machine may take longer than this service's time-out
    const body = message(gid, [[url, "{}"]], { request_timeout: 60 });
    await Promise.all(Array.from({ length: 20 }, () => api.post("/submit", body)));
    const replies = await Promise.all(Array.from({ length: 20 }, () => api.post("/submit", body)));
    expect(replies.every(({ status }) => status === 200)).toBe(true);
    open();
    await api.until(gid, "succeed");
    expect(services.at("/held", gid)).toHaveLength(1);
  });

  it("a message prepared twice with other branches keeps those of the first time", async () => {
    const gid = newGid("first");
    const query = { query_prepared: `${services.url}/query` };
    await api.post("/prepare", message(gid, [[`${services.url}/first`, '{"n":1}']], query));
    await api.post("/prepare", message(gid, [[`${services.url}/second`, '{"n":2}']], query));
    await api.post("/submit", message(gid, [[`${services.url}/third`, '{"n":3}']]));
    await api.until(gid, "succeed");
    expect(services.at("/first", gid).map(({ body }) => body)).toEqual(['{"n":1}']);
    expect([...services.at("/second", gid), ...services.at("/third", gid)]).toEqual([]);
  });
});
