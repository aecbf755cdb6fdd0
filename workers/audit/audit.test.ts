// Over 400 lines: each planted fault differs from the same sound sale, which is made once.
import type { Redis } from "ioredis";
import type { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { defineSale, grant, readOutbox, reserve, saleKeys, settle, shardKeys, unpackPurchase } from "#lua";
import { givenSale } from "../../test/harness/index.ts";
import { startAuditWorld, type AuditWorld } from "../../test/harness/audit-world.ts";
import { audit, type AuditStores } from "./audit.ts";
import { compareHere } from "./comparison-pool.ts";
import { DifferenceKind } from "./difference.ts";
import type { AuditReport } from "./report.ts";

const SALE = "phone";
const UNITS = 40;
const EPOCH = 3;
const FAR_MS = 4_000_000_000_000;

let world: AuditWorld;
let redis: Redis;
let sql: Client;
let stores: AuditStores;

beforeAll(async () => {
  world = await startAuditWorld(1);
  ({ redis, sql, stores } = world);
});
afterAll(() => world?.close());

/** A sale as the engine leaves it: granted, partly sold, part of it applied. Written without the engine's code. */
const openSale = async (limit = 1): Promise<void> => {
  await redis.flushall();
  await sql.query("TRUNCATE orders, grants, sale_shards, sales, shards CASCADE");
  await sql.query("ALTER TABLE sale_shards DROP CONSTRAINT IF EXISTS sale_shards_check");
  await sql.query("INSERT INTO shards (shard, epoch) VALUES (0, $1)", [EPOCH]);
  await givenSale(sql, { id: SALE, totalUnits: UNITS, closesAtMs: FAR_MS, limitPerBuyer: limit, shards: [{ shard: 0 }] });
  await sql.query("INSERT INTO grants (id, sale_id, shard, units, kind) VALUES ('opening', $1, 0, $2, 'opening')", [SALE, UNITS]);
  const keys = shardKeys(0);
  const replid = /master_replid:(\w+)/.exec(await redis.info("replication"))?.[1];
  await redis.mset(keys.epoch, EPOCH, keys.open, `${EPOCH} ${replid}`, keys.applied, `${EPOCH}-0`);
  await redis.xadd(keys.outbox, `${EPOCH}-0`, "k", "x");
  await redis.xtrim(keys.outbox, "MAXLEN", 0);
  await defineSale(redis, { shard: 0, epoch: EPOCH, saleId: SALE, version: 1, state: "open", limit, opensAtMs: 0, closesAtMs: FAR_MS });
};

const takeGrant = (id = "opening", units = UNITS): Promise<unknown> =>
  grant(redis, { shard: 0, epoch: EPOCH, saleId: SALE, grantId: id, units });

const buy = async (purchases: readonly string[]): Promise<void> => {
  const answer = await reserve(redis, { shard: 0, saleId: SALE, outboxLimit: 1_000, purchases });
  expect(answer.status).toBe("ok");
};

const appliedSeq = async (): Promise<number> =>
  Number((await sql.query<{ applied: string }>("SELECT applied FROM shards WHERE shard = 0")).rows[0]?.applied);

/** Applies up to `most` entries, each in a transaction of its own; does not tell Redis. */
const apply = async (most = Number.POSITIVE_INFINITY): Promise<void> => {
  const entries = await readOutbox(redis, { shard: 0, after: { epoch: EPOCH, seq: await appliedSeq() }, count: Math.min(most, 1_000) });
  for (const { entry } of entries) {
    await sql.query("BEGIN");
    if (entry.kind === "g") {
      await sql.query("UPDATE grants SET state = 'done' WHERE id = $1", [entry.grantId]);
      await sql.query("UPDATE sale_shards SET quota = quota + $1", [entry.units]);
    } else if (entry.kind === "o") {
      for (const [index, text] of entry.purchases.split(" ").entries()) {
        const purchase = unpackPurchase(text);
        await sql.query(
          "INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reserved_at_ms) VALUES ($1, $2, $3, 0, $4, $5, $6, $7, 'pending_payment', 0)",
          [SALE, purchase?.uid, purchase?.key, EPOCH, entry.seq, index, purchase?.units],
        );
        await sql.query("UPDATE sale_shards SET sold = sold + $1", [purchase?.units]);
      }
    }
    await sql.query("UPDATE shards SET applied = $1 WHERE shard = 0", [entry.seq]);
    await sql.query("COMMIT");
  }
};

const tellRedis = async (): Promise<unknown> => settle(redis, { shard: 0, epoch: EPOCH, applied: await appliedSeq() });

/** Entries 1 (grant), 2 and 3 applied and settled, 4 only in the outbox. */
const halfway = async (): Promise<void> => {
  await takeGrant();
  await buy(["anna", "bert", "cora"]);
  await buy(["dora"]);
  await apply();
  await tellRedis();
  await buy(["emil", "fred"]);
};

const kinds = (report: AuditReport): string[] => [...new Set(report.differences.map((found) => found.kind))].toSorted();
const uidsOf = (report: AuditReport, kind: DifferenceKind): (string | null)[] =>
  report.differences.filter((found) => found.kind === kind).map((found) => found.uid);

describe("a sound sale", () => {
  it("counts each unit in exactly one place, from the grant to the order", async () => {
    await openSale();
    expect((await audit(stores)).sales[0]).toMatchObject({ total: UNITS, free: 0, reserved: 0, inFlight: UNITS, sold: 0 });
    await takeGrant();
    expect((await audit(stores)).sales[0]).toMatchObject({ total: UNITS, free: UNITS, reserved: 0, inFlight: 0, sold: 0 });
    await buy(["anna", "bert", "cora"]);
    expect((await audit(stores)).sales[0]).toMatchObject({ free: UNITS - 3, reserved: 3, inFlight: 0, sold: 0 });
    await apply(1);
    expect((await audit(stores)).sales[0]).toMatchObject({ free: UNITS - 3, reserved: 3, inFlight: 0, sold: 0 });
    await apply();
    expect((await audit(stores)).sales[0]).toMatchObject({ free: UNITS - 3, reserved: 0, inFlight: 0, sold: 3 });
    await tellRedis();
    const report = await audit(stores);
    expect(report.sales[0]).toMatchObject({ free: UNITS - 3, reserved: 0, inFlight: 0, sold: 3 });
    expect(report).toMatchObject({ ok: true, differences: [], orders: 3 });
  });

  it("follows several purchases and units a buyer", async () => {
    await openSale(5);
    await takeGrant();
    await buy(["anna", "anna:second:3", "bert:gift:2"]);
    await apply();
    await buy(["bert:more:1"]);
    const report = await audit(stores);
    expect(report.differences).toEqual([]);
    expect(report.sales[0]).toMatchObject({ free: UNITS - 7, reserved: 1, sold: 6 });
  });
});

describe("an archived sale", () => {
  const leaveRedis = async (): Promise<void> => {
    await redis.del(...Object.values(saleKeys(0, SALE)));
    await redis.srem(shardKeys(0).sales, SALE);
  };
  beforeEach(async () => {
    await openSale(2);
    await takeGrant();
    await buy(["anna", "bert:k:2"]);
    await apply();
    await tellRedis();
    await sql.query("UPDATE orders SET state = 'paid'");
    await sql.query(
      "INSERT INTO payments (id, sale_id, uid, shard, epoch, seq, idx, decision) SELECT uid, sale_id, uid, shard, epoch, seq, idx, 'kept' FROM orders",
    );
    await sql.query("UPDATE sales SET state = 'closed', archived = true");
    await sql.query("UPDATE sale_shards SET dropped_epoch = 0");
  });
  afterEach(() => sql.query("TRUNCATE payments"));

  it("is counted in Postgres, whether Redis has it still or not, and before and after a refund", async () => {
    expect(await audit(stores)).toMatchObject({ ok: true, sales: [{ total: UNITS, free: UNITS - 3, sold: 3 }] });
    await leaveRedis();
    await sql.query("UPDATE sale_shards SET dropped_epoch = $1", [EPOCH]);
    expect(await audit(stores)).toMatchObject({ ok: true, sales: [{ total: UNITS, free: UNITS - 3, sold: 3 }] });
    await sql.query("UPDATE orders SET state = 'refunded' WHERE uid = 'bert'");
    await sql.query("UPDATE payments SET decision = 'refund' WHERE uid = 'bert'");
    await sql.query(
      "INSERT INTO grants (sale_id, id, shard, units, kind, state) SELECT sale_id, concat('r', shard, '-', epoch, '-', seq, '-', idx), shard, units, 'returned', 'done' FROM orders WHERE uid = 'bert'",
    );
    expect(kinds(await audit(stores))).toEqual([DifferenceKind.soldCounter, DifferenceKind.units].toSorted());
    await sql.query("UPDATE sale_shards SET sold = sold - 2");
    expect(await audit(stores)).toMatchObject({ ok: true, sales: [{ total: UNITS, free: UNITS - 1, sold: 1 }] });
  });

  it("is a difference in a Redis that was told, and with an order or units that are not done", async () => {
    await sql.query("UPDATE sale_shards SET dropped_epoch = $1", [EPOCH]);
    expect(kinds(await audit(stores))).toEqual([DifferenceKind.archivedInRedis]);
    await leaveRedis();
    await sql.query("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES ($1, 'more', 0, 1, 'added')", [SALE]);
    await sql.query("UPDATE sales SET total_units = total_units + 1");
    expect(kinds(await audit(stores))).toEqual([DifferenceKind.archivedEarly]);
    await sql.query("DELETE FROM grants WHERE id = 'more'");
    await sql.query("UPDATE sales SET total_units = total_units - 1");
    await sql.query("UPDATE orders SET state = 'pending_payment'");
    await sql.query("TRUNCATE payments");
    expect(kinds(await audit(stores))).toEqual([DifferenceKind.archivedEarly]);
  });
});

describe("a server that lost its tail", () => {
  it("is in recovery until it sells, and only then has it lost something", async () => {
    await openSale();
    await halfway();
    await sql.query("UPDATE shards SET applied = 9");
    const { open } = shardKeys(0);
    const permission = await redis.get(open);
    // as a promoted replica has it: its primary's
    await redis.set(open, `${EPOCH} ${"0".repeat(40)}`);
    expect(kinds(await audit(stores))).toEqual([DifferenceKind.unsettled]);
    await redis.set(open, permission ?? "");
    expect(kinds(await audit(stores))).toContain(DifferenceKind.redisBehind);
  });
});

describe("a damaged sale", () => {
  beforeEach(async () => {
    await openSale();
    await halfway();
  });

  const damages: readonly { name: string; damage: () => Promise<unknown>; found: readonly DifferenceKind[]; uid?: string }[] = [
    {
      name: "an order's row is deleted",
      damage: () => sql.query("DELETE FROM orders WHERE uid = 'bert'"),
      found: [DifferenceKind.reservationWithoutOrder, DifferenceKind.soldCounter, DifferenceKind.units],
      uid: "bert",
    },
    {
      name: "an order moves to another position",
      damage: () => sql.query("UPDATE orders SET idx = 7 WHERE uid = 'bert'"),
      found: [DifferenceKind.orderDiffers],
      uid: "bert",
    },
    {
      name: "an order takes another's position",
      damage: () => sql.query("UPDATE orders SET idx = 0 WHERE uid = 'bert'"),
      found: [DifferenceKind.duplicatePosition, DifferenceKind.orderDiffers],
      uid: "bert",
    },
    {
      name: "a purchase is stored twice",
      damage: async () => {
        await sql.query("DROP INDEX orders_binding");
        await sql.query(
          "INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reserved_at_ms) SELECT sale_id, uid, purchase_key, shard, epoch, seq, 9, units, state, reserved_at_ms FROM orders WHERE uid = 'cora'",
        );
      },
      found: [DifferenceKind.duplicateOrder, DifferenceKind.soldCounter, DifferenceKind.units],
      uid: "cora",
    },
    {
      name: "an order lies after what is applied",
      damage: () =>
        sql.query(
          "INSERT INTO orders (sale_id, uid, purchase_key, shard, epoch, seq, idx, units, state, reserved_at_ms) VALUES ($1, 'emil', '', 0, $2, 4, 0, 1, 'pending_payment', 0)",
          [SALE, EPOCH],
        ),
      found: [DifferenceKind.beyondApplied, DifferenceKind.soldCounter, DifferenceKind.units],
      uid: "emil",
    },
    {
      name: "a unit is added to what is left",
      damage: () => redis.hincrby(saleKeys(0, SALE).sale, "left", 1),
      found: [DifferenceKind.units],
    },
    {
      name: "a sold buyer's field is removed",
      damage: () => redis.hdel(saleKeys(0, SALE).buyers, "anna"),
      found: [DifferenceKind.orderWithoutReservation],
      uid: "anna",
    },
    {
      name: "a reserved buyer's field is removed",
      damage: () => redis.hdel(saleKeys(0, SALE).buyers, "fred"),
      found: [DifferenceKind.orderWithoutReservation],
      uid: "fred",
    },
    {
      name: "a ghost field appears",
      damage: () => redis.hset(saleKeys(0, SALE).buyers, "ghost", `${EPOCH}-2-9-1`),
      found: [DifferenceKind.reservationWithoutOrder],
      uid: "ghost",
    },
    {
      name: "a field that is no reservation appears",
      damage: () => redis.hset(saleKeys(0, SALE).buyers, "ghost", "hello"),
      found: [DifferenceKind.reservationWithoutOrder],
      uid: "ghost",
    },
    { name: "the quota is changed", damage: () => sql.query("UPDATE sale_shards SET quota = quota - 1"), found: [DifferenceKind.quota] },
    { name: "sold is changed", damage: () => sql.query("UPDATE sale_shards SET sold = sold + 1"), found: [DifferenceKind.soldCounter] },
    {
      name: "the total is below what was sold",
      damage: () => sql.query("UPDATE sales SET total_units = 3"),
      found: [DifferenceKind.oversold, DifferenceKind.quota, DifferenceKind.units],
    },
    {
      name: "sold is above the quota",
      damage: async () => {
        await sql.query("UPDATE sale_shards SET quota = 3");
        await sql.query("UPDATE grants SET units = 3");
        await sql.query("UPDATE sales SET total_units = 3");
        await redis.hset(saleKeys(0, SALE).sale, "left", -3);
      },
      found: [DifferenceKind.oversold],
    },
    {
      name: "Redis forgets a grant",
      damage: () => redis.srem(saleKeys(0, SALE).grants, "opening"),
      found: [DifferenceKind.grantLost],
    },
    {
      name: "Postgres loses a grant that is under way",
      damage: async () => {
        await sql.query("INSERT INTO grants (id, sale_id, shard, units, kind) VALUES ('more', $1, 0, 5, 'added')", [SALE]);
        await sql.query("UPDATE sales SET total_units = total_units + 5");
        expect(await audit(stores)).toMatchObject({ ok: true, sales: [{ inFlight: 5 }] });
        await sql.query("DELETE FROM grants WHERE id = 'more'");
      },
      found: [DifferenceKind.quota, DifferenceKind.units],
    },
    {
      name: "Redis takes in a grant that nobody gave",
      damage: () => redis.sadd(saleKeys(0, SALE).grants, "forged"),
      found: [DifferenceKind.grantUnknown],
    },
    {
      name: "an entry that is not applied leaves the outbox",
      damage: () => redis.xtrim(shardKeys(0).outbox, "MAXLEN", 0),
      found: [DifferenceKind.missingEntries, DifferenceKind.reservationWithoutOrder, DifferenceKind.units],
      uid: "emil",
    },
    {
      name: "an entry waits in the outbox for longer than any recovery takes",
      damage: async () => {
        const { outbox } = shardKeys(0);
        const [[id, fields] = ["", []]] = await redis.xrange(outbox, "-", "+");
        fields[fields.indexOf("t") + 1] = String(Date.now() - 40_000);
        await redis.xdel(outbox, id);
        await redis.call("XSETID", outbox, `${EPOCH}-3`);
        await redis.xadd(outbox, id, ...fields);
      },
      found: [DifferenceKind.outboxStuck],
    },
    {
      name: "Redis is told more than is applied",
      damage: () => redis.set(shardKeys(0).applied, `${EPOCH}-4`),
      found: [DifferenceKind.appliedAhead],
    },
    {
      name: "Postgres refused an order",
      damage: async () => {
        await sql.query("UPDATE orders SET state = 'rejected' WHERE uid = 'dora'");
        await sql.query("UPDATE sale_shards SET sold = sold - 1");
        await redis.hincrby(saleKeys(0, SALE).sale, "left", 1);
      },
      found: [DifferenceKind.rejected],
      uid: "dora",
    },
    {
      name: "the sale is called sold out",
      damage: () => sql.query("UPDATE sales SET sold_out_version = returns_seq"),
      found: [DifferenceKind.falseSoldOut],
    },
    {
      name: "Redis has a sale of its own",
      damage: async () => {
        await redis.sadd(shardKeys(0).sales, "other");
        await redis.hset(saleKeys(0, "other").sale, "left", 5);
      },
      found: [DifferenceKind.unknownSale],
    },
    {
      name: "a transfer's grant has another name",
      damage: async () => {
        await sql.query("INSERT INTO grants (id, sale_id, shard, units, kind, from_shard) VALUES ('odd', $1, 0, 1, 'transfer', 0)", [SALE]);
        await sql.query("UPDATE sales SET total_units = total_units + 1");
      },
      // its units are still at a donor that never had them
      found: [DifferenceKind.quota, DifferenceKind.unreadable],
    },
    {
      name: "what is left is no number",
      damage: () => redis.hset(saleKeys(0, SALE).sale, "left", "many"),
      found: [DifferenceKind.units],
    },
    {
      name: "somebody put a string where the buyers were",
      damage: () => redis.set(saleKeys(0, SALE).buyers, "mine"),
      found: [DifferenceKind.orderWithoutReservation, DifferenceKind.unreadable],
    },
    {
      name: "somebody put a list where the sale was",
      damage: async () => {
        await redis.del(saleKeys(0, SALE).sale);
        await redis.rpush(saleKeys(0, SALE).sale, "mine");
      },
      found: [DifferenceKind.units, DifferenceKind.unreadable],
    },
    {
      name: "somebody put a string where the grants were",
      damage: () => redis.set(saleKeys(0, SALE).grants, "mine"),
      found: [DifferenceKind.grantLost, DifferenceKind.unreadable],
    },
    {
      name: "somebody put a string where the list of sales was",
      damage: () => redis.set(shardKeys(0).sales, "mine"),
      found: [DifferenceKind.unreadable],
    },
    {
      name: "somebody put a string where the outbox was",
      damage: () => redis.set(shardKeys(0).outbox, "mine"),
      found: [DifferenceKind.redisBehind, DifferenceKind.units, DifferenceKind.unreadable],
    },
    {
      name: "Redis is in another epoch",
      damage: () => redis.set(shardKeys(0).epoch, EPOCH - 1),
      found: [DifferenceKind.unsettled],
    },
  ];

  for (const { name, damage, found, uid } of damages) {
    it(`is noticed: ${name}`, async () => {
      expect(await audit(stores)).toMatchObject({ ok: true, differences: [] });
      await damage();
      const report = await audit(stores);
      expect(report.ok).toBe(false);
      expect(kinds(report)).toEqual([...found].toSorted());
      if (uid !== undefined) {
        const named = report.differences.filter((difference) => difference.uid !== null);
        expect(named.map((difference) => difference.uid)).toContain(uid);
      }
      await restoreIndex();
    });
  }

  const restoreIndex = async (): Promise<void> => {
    await sql.query("TRUNCATE orders");
    await sql.query("CREATE UNIQUE INDEX IF NOT EXISTS orders_binding ON orders (sale_id, uid, purchase_key) WHERE state <> 'rejected'");
  };

  it("counts orphans and duplicates of the sale", async () => {
    await redis.hdel(saleKeys(0, SALE).buyers, "anna");
    await redis.hset(saleKeys(0, SALE).buyers, "ghost", `${EPOCH}-2-9-1`);
    const report = await audit(stores);
    expect(report.sales[0]).toMatchObject({ orphans: 2, duplicates: 0 });
    expect(uidsOf(report, DifferenceKind.orderWithoutReservation)).toEqual(["anna"]);
    expect(uidsOf(report, DifferenceKind.reservationWithoutOrder)).toEqual(["ghost"]);
  });

  it("counts what a list does not show", async () => {
    const ghosts = Array.from({ length: 250 }, (_, index) => [`ghost${index}`, `${EPOCH}-2-${index + 9}-1`]).flat();
    await redis.hset(saleKeys(0, SALE).buyers, ...ghosts);
    const report = await audit(stores);
    expect(report.sales[0]?.orphans).toBe(250);
    expect(report.differences.length).toBeLessThan(120);
  });
});

describe("a damaged sale with several units a buyer", () => {
  it("is noticed: Redis's count of a buyer's units, and a buyer above the limit", async () => {
    await openSale(3);
    await takeGrant();
    await buy(["anna:a:2", "bert:b:3"]);
    await apply();
    expect(await audit(stores)).toMatchObject({ ok: true });
    await redis.hset(saleKeys(0, SALE).buyers, "anna", 1);
    expect(kinds(await audit(stores))).toEqual([DifferenceKind.buyerUnits]);
    await redis.hset(saleKeys(0, SALE).buyers, "anna", 2);
    await sql.query("UPDATE sales SET limit_per_buyer = 2");
    const report = await audit(stores);
    expect(kinds(report)).toEqual([DifferenceKind.limitExceeded]);
    expect(uidsOf(report, DifferenceKind.limitExceeded)).toEqual(["bert"]);
  });
});

describe("a busy sale", () => {
  it("raises no false alarm while purchases, grants and settles flow", async () => {
    await openSale();
    await takeGrant();
    const over = new AbortController();
    const buyers = (async () => {
      for (let round = 0; !over.signal.aborted; round += 1) {
        const id = `more${round}`;
        if (round % 5 === 0) {
          await sql.query("BEGIN");
          await sql.query("UPDATE sales SET total_units = total_units + 30");
          await sql.query("INSERT INTO grants (id, sale_id, shard, units, kind) VALUES ($1, $2, 0, 30, 'added')", [id, SALE]);
          await sql.query("COMMIT");
          await takeGrant(id, 30);
        }
        await buy([`a${round}`, `b${round}`, `c${round}`]);
        if (round % 3 !== 0) await apply(2);
        if (round % 4 === 0) await tellRedis();
      }
    })();
    try {
      const reports: AuditReport[] = [];
      const positions = new Set<string | undefined>();
      while (positions.size < 25) {
        const report = await audit(stores);
        reports.push(report);
        positions.add(report.shards[0]?.redis);
      }
      for (const report of reports) expect(report.differences).toEqual([]);
      expect(reports.some((report) => (report.sales[0]?.reserved ?? 0) > 0)).toBe(true);
    } finally {
      over.abort();
      await buyers;
    }
  });

  it("forgets a suspicion that a later reading does not confirm", async () => {
    await openSale();
    await halfway();
    await redis.hincrby(saleKeys(0, SALE).sale, "left", 1);
    let snapshots = 0;
    let readings = 0;
    const repaired: AuditStores = {
      ...stores,
      place: {
        ...compareHere,
        begin: (cutoffs) => {
          readings += 1;
          return compareHere.begin(cutoffs);
        },
      },
      database: {
        ...stores.database,
        snapshot: async (read) => {
          const result = await stores.database.snapshot(read);
          snapshots += 1;
          // the first snapshot only lists the sales; the second is the first reading's
          if (snapshots === 2) await redis.hset(saleKeys(0, SALE).sale, "left", UNITS - 6);
          return result;
        },
      },
    };
    expect(await audit(repaired)).toMatchObject({ ok: true, differences: [] });
    expect(readings).toBe(2);
  });
});
