import { connect, type NatsConnection } from "nats";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startNats, until, type NatsServer } from "../../test/harness/index.ts";
import { followBucket } from "./kv-follower.ts";
import { systemClock } from "./system.ts";

const BUCKET = "things";

let server: NatsServer;
let nats: NatsConnection;
let stop: AbortController;
let following: Promise<void>;
/** what the follower has handed over */
let known: Map<string, string>;
let faults: unknown[];
let loads: number;

const put = async (key: string, value: string): Promise<void> => {
  const bucket = await nats.jetstream().views.kv(BUCKET);
  await bucket.put(key, value);
};

beforeAll(async () => {
  server = await startNats();
  nats = await connect({ servers: server.url, user: server.user, pass: server.pass, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
});
beforeEach(() => {
  stop = new AbortController();
  known = new Map();
  faults = [];
  loads = 0;
  following = followBucket({
    nats,
    bucket: BUCKET,
    clock: systemClock,
    stop: stop.signal,
    put: (key, value) => {
      const text = Buffer.from(value).toString();
      if (text === "strange") throw new Error("strange");
      known.set(key, text);
    },
    remove: (key) => known.delete(key),
    loaded: () => (loads += 1),
    fault: (error) => faults.push(error),
  });
});
afterEach(async () => {
  stop.abort();
  await following;
});
afterAll(async () => {
  await nats.close();
  await server.stop();
});

describe("who follows a bucket", () => {
  it("waits for it, and gets what is put and what is deleted", async () => {
    await put("a", "1");
    await put("b", "1");
    await until(() => known.has("b") && loads > 0, "both are known");
    await put("a", "2");
    const bucket = await nats.jetstream().views.kv(BUCKET);
    await bucket.delete("b");
    await until(() => !known.has("b"), "what was deleted is gone");
    expect(known.get("a")).toBe("2");
    expect(faults).toEqual([]);
  });

  it("hears of an entry that it cannot take, and of all behind it", async () => {
    await put("c", "strange");
    await put("d", "1");
    await until(() => known.has("d"), "the entry behind it is known");
    expect(known.has("c")).toBe(false);
    expect(faults).toMatchObject([{ message: "strange" }]);
  });

  it("follows it again after it was deleted and made anew, and forgets nothing", async () => {
    await put("e", "1");
    await until(() => known.has("e"), "the entry is known");
    for (const round of ["new-1", "new-2"]) {
      const bucket = await nats.jetstream().views.kv(BUCKET);
      await bucket.destroy();
      await put(round, "1");
      await until(() => known.has(round), "the new bucket is followed");
      expect(known.get("e")).toBe("1");
    }
  });

  it("follows it again when the broker is back", async () => {
    await put("f", "1");
    await until(() => known.has("f"), "the entry is known");
    await server.kill();
    await server.start();
    await until(async () => {
      await put("f", "2").catch(() => undefined);
      return known.get("f") === "2";
    }, "the change is known");
  });
});
