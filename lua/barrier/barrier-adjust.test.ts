import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startRedis, type RedisServer } from "../../test/harness/index.ts";
import { adjustBarrier } from "./barrier-adjust.ts";
import { queryBarrier } from "./barrier-query.ts";
import { revertBarrier } from "./barrier-revert.ts";
import { barrierKey } from "../core/keys.ts";

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});
afterAll(async () => {
  redis?.disconnect();
  await server?.stop();
});
beforeEach(async () => {
  await redis.flushall();
});

const barrier = barrierKey("g", "00", "msg", "01");
const take = (amount = -1): ReturnType<typeof adjustBarrier> =>
  adjustBarrier(redis, { stockKey: "stock", barrier, amount, ttlS: 60, refusalTtlS: 0 });

describe("barrier-adjust", () => {
  it("spells keys and values as dtm does", async () => {
    expect(barrier).toBe("g-00-msg-01");
    await redis.set("stock", 1);
    expect(await take()).toBe("OK");
    expect([await redis.get("stock"), await redis.get("g-00-msg-01")]).toEqual(["0", "op"]);
    expect(await redis.ttl("g-00-msg-01")).toBeGreaterThan(0);
  });

  it("looks at the barrier before the stock: the last unit's winner is told DUPLICATE", async () => {
    await redis.set("stock", 1);
    expect([await take(), await take()]).toEqual(["OK", "DUPLICATE"]);
    expect(await redis.get("stock")).toBe("0");
  });

  it("writes nothing without stock", async () => {
    expect(await take()).toBe("FAILURE");
    await redis.set("stock", 2);
    expect(await take(-3)).toBe("FAILURE");
    expect([await redis.get("stock"), await redis.exists(barrier)]).toEqual(["2", 0]);
    await redis.set("stock", "many");
    await expect(take()).rejects.toThrow("not a number");
    expect(await redis.exists(barrier)).toBe(0);
  });

  it("whose failure is final stays refused when stock comes back; one that is not may be made then", async () => {
    const final = (): ReturnType<typeof adjustBarrier> =>
      adjustBarrier(redis, { stockKey: "stock", barrier, amount: -1, ttlS: 60, refusalTtlS: 30 });
    expect(await final()).toBe("FAILURE");
    expect([await redis.get(barrier), await redis.ttl(barrier)]).toEqual(["rollback", 30]);
    await redis.set("stock", 1);
    expect([await final(), await take()]).toEqual(["ROLLBACK", "ROLLBACK"]);
    await redis.del(barrier, "stock");
    expect(await take()).toBe("FAILURE");
    await redis.set("stock", 1);
    expect([await final(), await final(), await redis.get("stock")]).toEqual(["OK", "DUPLICATE", "0"]);
  });

  it("takes many steps at once, each as if it came alone; a bad stock spoils its own step only", async () => {
    await redis.set("stock", 2);
    await redis.set("words", "many");
    const step = (gid: string, stockKey = "stock"): Promise<string> =>
      adjustBarrier(redis, { stockKey, barrier: barrierKey(gid, "00", "msg", "01"), amount: -1, ttlS: 60, refusalTtlS: 30 });
    const answers = await Promise.allSettled([step("a"), step("b", "words"), step("a"), step("c"), step("d"), step("d")]);
    expect(answers.map((answer) => (answer.status === "fulfilled" ? answer.value : String(answer.reason)))).toEqual([
      "OK",
      "Error: the stock at words is not a number",
      "DUPLICATE",
      "OK",
      "FAILURE",
      "ROLLBACK",
    ]);
  });

  it("is barred by a query-back that found nothing", async () => {
    await redis.set("stock", 1);
    expect(await queryBarrier(redis, { barrier, ttlS: 60 })).toBe("FAILURE");
    expect(await take()).toBe("ROLLBACK");
    expect(await redis.get("stock")).toBe("1");
  });

  it("a query-back after it says that it happened", async () => {
    await redis.set("stock", 1);
    await take();
    expect(await queryBarrier(redis, { barrier, ttlS: 60 })).toBe("OK");
  });

  it("compensates once, and only what happened", async () => {
    const [action, compensate] = [barrierKey("g", "01", "action", "01"), barrierKey("g", "01", "compensate", "01")];
    const undo = (): ReturnType<typeof adjustBarrier> =>
      adjustBarrier(redis, { stockKey: "stock", barrier: compensate, compensates: action, amount: 1, ttlS: 60, refusalTtlS: 0 });
    await redis.set("stock", 5);
    expect([await undo(), await undo()]).toEqual(["SKIPPED", "DUPLICATE"]);
    expect(await adjustBarrier(redis, { stockKey: "stock", barrier: action, amount: -1, ttlS: 60, refusalTtlS: 0 })).toBe("ROLLBACK");
    expect(await redis.get("stock")).toBe("5");
    await redis.del(action, compensate);
    await adjustBarrier(redis, { stockKey: "stock", barrier: action, amount: -1, ttlS: 60, refusalTtlS: 0 });
    expect([await undo(), await undo()]).toEqual(["OK", "DUPLICATE"]);
    expect(await redis.get("stock")).toBe("5");
  });

  it("is taken back once", async () => {
    await redis.set("stock", 1);
    const revert = (): Promise<boolean> => revertBarrier(redis, { stockKey: "stock", barrier, amount: -1, ttlS: 60 });
    expect(await revert()).toBe(false);
    await take();
    expect([await revert(), await revert()]).toEqual([true, false]);
    expect([await redis.get("stock"), await take()]).toEqual(["1", "ROLLBACK"]);
  });
});
