import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../harness/index.ts";
import { Api, message, newGid } from "../../harness/messages/api.ts";
import { startStores, type Stores } from "../../harness/messages/coordinator.ts";
import { CoordinatorProcess } from "../../harness/messages/process.ts";
import { Services } from "../../harness/messages/services.ts";

/** Long enough that a busy machine renews in time: a lease that is lost on the way would be a takeover of its own. */
const LEASE_MS = 3_000;
const VARIABLES = {
  DOORBUSTER_LEASE_MS: String(LEASE_MS),
  DOORBUSTER_MESSAGE_HOLD_MS: "500",
  DOORBUSTER_MESSAGE_HOST_CALLS: "2",
  DOORBUSTER_MESSAGE_REQUEST_TIMEOUT_MS: "20000",
  DOORBUSTER_MESSAGE_RETRY_MS: "100",
};

let stores: Stores;
let services: Services;
beforeAll(async () => {
  [stores, services] = await Promise.all([startStores(1), Services.start()]);
});
afterAll(async () => {
  await Promise.all([services?.stop(), stores?.stop()]);
});

const pair = async (): Promise<[CoordinatorProcess, CoordinatorProcess]> => {
  const first = await CoordinatorProcess.start(stores, VARIABLES);
  await until(() => first.holds(0), "the first coordinator to hold the lease");
  return [first, await CoordinatorProcess.start(stores, VARIABLES)];
};

const submitMany = async (api: Api, path: string, count: number): Promise<readonly string[]> =>
  Promise.all(
    Array.from({ length: count }, async () => {
      const gid = newGid("coordinators");
      expect((await api.post("/submit", message(gid, [[services.url + path, "{}"]]))).status).toBe(200);
      return gid;
    }),
  );

describe("two coordinators", () => {
  it("the one without the lease takes calls, the holder delivers", async () => {
    const [first, second] = await pair();
    try {
      const gids = await submitMany(new Api(second.url), "/plain", 20);
      await Promise.all(gids.map((gid) => new Api(first.url).until(gid, "succeed")));
      expect(services.at("/plain")).toHaveLength(20);
    } finally {
      await Promise.all([first.kill(), second.kill()]);
    }
  });

  it("one killed: the other finishes what it left", async () => {
    const [first, second] = await pair();
    try {
      let release = false;
      services.on("/killed", async (_received, response) => {
        await until(() => release, "the release", 30_000);
        response.end();
      });
      const gids = await submitMany(new Api(first.url), "/killed", 10);
      await until(() => services.at("/killed").length === 2, "calls on the wire");
      await first.kill();
      release = true;
      await Promise.all(gids.map((gid) => new Api(second.url).until(gid, "succeed", 20_000)));
      // only the two that were on the wire may have been repeated
      expect(services.at("/killed").length).toBeLessThanOrEqual(12);
    } finally {
      await Promise.all([first.kill(), second.kill()]);
    }
  });

  it("one killed in the middle of a message: the branches that succeeded are not called again", async () => {
    const [first, second] = await pair();
    try {
      let release = false;
      services.on("/middle", async (_received, response) => {
        await until(() => release, "the release", 30_000);
        response.end();
      });
      const gid = newGid("middle");
      const steps = [
        [`${services.url}/before`, "{}"],
        [`${services.url}/middle`, "{}"],
      ] as const;
      await new Api(first.url).post("/submit", message(gid, steps));
      await until(() => services.at("/middle", gid).length === 1, "the second branch to be called");
      await first.kill();
      release = true;
      await new Api(second.url).until(gid, "succeed", 20_000);
      expect([services.at("/before", gid).length, services.at("/middle", gid).length]).toEqual([1, 2]);
    } finally {
      await Promise.all([first.kill(), second.kill()]);
    }
  });

  it("one paused past its lease, then continued: it starts no call any more", async () => {
    const [first, second] = await pair();
    try {
      let release = false;
      services.on("/paused", async (_received, response) => {
        await until(() => release, "the release", 30_000);
        response.end();
      });
      const gids = await submitMany(new Api(first.url), "/paused", 10);
      await until(() => services.at("/paused").length === 2, "the first's calls on the wire");
      // eight more wait for their turn inside the first: they must not start when it wakes up
      const onTheWire = new Set(gids.filter((gid) => services.at("/paused", gid).length === 1));
      await first.signal("SIGSTOP");
      await until(() => second.holds(0), "the second to take the lease over", 20_000);
      await until(() => services.at("/paused").length === 4, "the second's calls on the wire");
      await first.signal("SIGCONT");
      // its two calls now end: were it to go on, it would start the next two at once
      release = true;
      await Promise.all(gids.map((gid) => new Api(second.url).until(gid, "succeed", 20_000)));
      await until(() => first.holds(0).then((holds) => !holds), "the first to know");
      await until(async () => (await first.branchCalls()) >= 2, "the first's two calls to end");
      expect(await first.branchCalls()).toBe(2);
      // the second cannot know how the first's two ended and may repeat them; it alone called the others
      for (const gid of gids) {
        const { length } = services.at("/paused", gid);
        if (onTheWire.has(gid)) expect([1, 2]).toContain(length);
        else expect(length).toBe(1);
      }
    } finally {
      await first.signal("SIGCONT");
      await Promise.all([first.kill(), second.kill()]);
    }
  });
});
