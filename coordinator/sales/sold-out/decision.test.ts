import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { grant, stock } from "#lua";
import { createSaleFacts } from "../../shards/rows/requests.ts";
import { until } from "../../../test/harness/index.ts";
import { startShardWorld, type ShardWorld } from "../../../test/harness/shard-world.ts";
import { decideSoldOut } from "./decision.ts";
import type { SoldOutPorts } from "./sold-out-ports.ts";

const SALE = { id: "a", shards: [0] };

let world: ShardWorld;
let ports: SoldOutPorts;
beforeEach(async () => {
  world = await startShardWorld();
  ports = { ...createSaleFacts(await world.connect()), stock: (shard, saleId) => stock(world.redis, { shard, saleId }) };
  await world.coordinator();
  await world.untilOpen();
  await world.openSale("a", 2);
});
afterEach(async () => {
  await world.stop();
});

const isFlagged = async (): Promise<boolean> =>
  (await world.database.sql("SELECT sold_out_version FROM sales")).rows[0]?.["sold_out_version"] !== null;
/** during Postgres's answer, between the two looks at the shards */
const inBetween = (work: () => Promise<unknown>): SoldOutPorts => ({
  ...ports,
  facts: async (saleId) => {
    const facts = await ports.facts(saleId);
    await work();
    return facts;
  },
});

/** The sale over a second shard, which cannot be asked or says `status`. */
const overTwo = (status?: "recovering"): [SoldOutPorts, typeof SALE] => [
  {
    ...ports,
    stock: async (shard, saleId) => {
      if (shard === 0) return ports.stock(0, saleId);
      if (status === undefined) throw new Error("away");
      return { status };
    },
  },
  { id: "a", shards: [0, 1] },
];

describe("the sold-out decision", () => {
  it("needs no answer of a shard whose quota is all sold; of any other it does", async () => {
    await world.database.sql("INSERT INTO shards (shard, epoch) VALUES (1, 1)");
    await world.database.sql("INSERT INTO sale_shards (sale_id, shard, quota, sold) VALUES ('a', 1, 5, 4)");
    await world.buy("a", ["u0", "u1"]);
    await world.untilApplied(["u0", "u1"]);
    await expect(decideSoldOut(...overTwo())).rejects.toThrow("away");
    expect(await decideSoldOut(...overTwo("recovering"))).toBe("has_stock");
    expect(await isFlagged()).toBe(false);
    await world.database.sql("UPDATE sale_shards SET sold = 5 WHERE shard = 1");
    expect(await decideSoldOut(...overTwo("recovering"))).toBe("sold_out");
    await world.database.sql("UPDATE sales SET sold_out_version = NULL");
    expect(await decideSoldOut(...overTwo())).toBe("sold_out");
    expect(await isFlagged()).toBe(true);
  });

  it("does not take a shard for full to which a grant is on its way", async () => {
    await world.database.sql("INSERT INTO shards (shard, epoch) VALUES (1, 1)");
    await world.database.sql("INSERT INTO sale_shards (sale_id, shard, quota, sold) VALUES ('a', 1, 5, 5)");
    await world.database.sql("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES ('a', 'more', 1, 1, 'added')");
    await world.buy("a", ["u0", "u1"]);
    await world.untilApplied(["u0", "u1"]);
    expect(await decideSoldOut(...overTwo())).toBe("moving");
    expect(await isFlagged()).toBe(false);
  });

  it("finds a unit on any of the shards", async () => {
    await world.buy("a", ["u0", "u1"]);
    await world.untilApplied(["u0", "u1"]);
    const dry = await ports.stock(0, "a");
    const second: SoldOutPorts = { ...ports, stock: async (shard) => (shard === 0 ? dry : ({ ...dry, left: 1 } as typeof dry)) };
    expect(await decideSoldOut(second, { id: "a", shards: [0, 1] })).toBe("has_stock");
    expect(await isFlagged()).toBe(false);
  });

  it("flags a sale when its last unit is gone, not before", async () => {
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    expect(await decideSoldOut(ports, SALE)).toBe("has_stock");
    await world.buy("a", ["u1"]);
    expect(await decideSoldOut(ports, SALE)).toBe("sold_out");
    expect(await isFlagged()).toBe(true);
    expect(await decideSoldOut(ports, SALE)).toBe("sold_out");
  });

  it("does not flag while a stock move is not applied, or a grant is on its way", async () => {
    await world.untilApplied([]);
    await world.worker.stopApplier();
    await world.buy("a", ["u0", "u1"]);
    await world.database.sql("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES ('a', 'more', 0, 1, 'added')");
    expect(await decideSoldOut(ports, SALE)).toBe("moving");
    const { epoch } = await world.state();
    await grant(world.redis, { shard: 0, epoch, saleId: "a", grantId: "more", units: 1 });
    await world.buy("a", ["u2"]);
    expect(await decideSoldOut(ports, SALE)).toBe("has_stock");
    expect(await isFlagged()).toBe(false);
    world.worker.startApplier();
    await world.untilApplied(["u2"]);
    expect(await decideSoldOut(ports, SALE)).toBe("sold_out");
  });

  it("does not flag when a unit came and went between the two looks", async () => {
    await world.buy("a", ["u0", "u1"]);
    await world.untilApplied(["u0", "u1"]);
    const between = inBetween(async () => {
      await world.database.sql("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES ('a', 'more', 0, 1, 'added')");
      const { epoch } = await world.state();
      await grant(world.redis, { shard: 0, epoch, saleId: "a", grantId: "more", units: 1 });
      await world.buy("a", ["u2"]);
      await world.untilApplied(["u2"]);
    });
    expect(await decideSoldOut(between, SALE)).toBe("moving");
    expect(await isFlagged()).toBe(false);
  });

  it("does not flag when another epoch began between the two looks", async () => {
    await world.buy("a", ["u0", "u1"]);
    await world.untilApplied(["u0", "u1"]);
    const between = inBetween(async () => {
      await world.redis.flushall();
      await world.untilOpen(2);
    });
    expect(await decideSoldOut(between, SALE)).toBe("moving");
    expect(await isFlagged()).toBe(false);
  });

  it("does not flag when a unit was freed before the flag could be set", async () => {
    await world.buy("a", ["u0", "u1"]);
    await world.untilApplied(["u0", "u1"]);
    const between = inBetween(() => world.database.sql("UPDATE sales SET returns_seq = returns_seq + 1"));
    expect(await decideSoldOut(between, SALE)).toBe("moving");
    expect(await isFlagged()).toBe(false);
  });

  it("does not flag a sale of a shard that is not open while an order of it is not stored", async () => {
    await world.buy("a", ["u0"]);
    await world.untilApplied(["u0"]);
    await world.worker.stopApplier();
    await world.buy("a", ["u1"]);
    await world.redis.del("{s0}:open");
    expect(await decideSoldOut(ports, SALE)).toBe("has_stock");
    world.worker.startApplier();
    await world.untilOpen();
    await until(async () => (await decideSoldOut(ports, SALE)) === "sold_out", "the flag");
  });
});
