import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { grant, stock } from "#lua";
import { until } from "../../../test/harness/index.ts";
import { startShardWorld, type ShardWorld } from "../../../test/harness/shard-world.ts";
import type { SaleRecord } from "#protocol/sale";
import { createSaleFacts } from "../../shards/rows/requests.ts";
import type { SoldOutPorts } from "./sold-out-ports.ts";
import { watchSoldOut } from "./watch.ts";
import { saleRecord } from "../../../test/harness/sale-record.ts";

/** Looks when it is told to. */
class Turns {
  #wake = (): void => undefined;
  isWaiting = false;

  readonly sleep = (_ms: number, stop?: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      this.isWaiting = true;
      this.#wake = () => {
        this.isWaiting = false;
        resolve();
      };
      stop?.addEventListener("abort", () => this.#wake(), { once: true });
    });

  /** resolves when the sales have been asked about; their looks may still be under way */
  async next(): Promise<void> {
    await until(() => this.isWaiting, "the last turn to end", 10_000);
    this.#wake();
    await until(() => this.isWaiting, "the turn to end", 10_000);
  }
}

const recordOf = (id: string): SaleRecord => saleRecord({ id, totalUnits: 2, closesAtMs: Number.MAX_SAFE_INTEGER });

let world: ShardWorld;
let ports: SoldOutPorts;
let turns: Turns;
let decided: string[];
const ends: (() => Promise<void>)[] = [];
beforeEach(async () => {
  world = await startShardWorld();
  ports = { ...createSaleFacts(await world.connect()), stock: (shard, saleId) => stock(world.redis, { shard, saleId }) };
  turns = new Turns();
  decided = [];
  await world.coordinator();
  await world.untilOpen();
  await world.openSale("a", 2);
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
  await world.stop();
});

const watch = (sales: readonly string[], over: SoldOutPorts = ports): void => {
  const stop = new AbortController();
  const ended = watchSoldOut(
    {
      ports: over,
      clock: { monotonicMs: () => 0, sleep: turns.sleep },
      sales: () => sales.map((id) => recordOf(id)),
      isOurs: () => true,
      decided: (saleId) => decided.push(saleId),
      fault: () => undefined,
    },
    stop.signal,
  );
  ends.push(async () => {
    stop.abort();
    await ended;
  });
};
const untilDecided = (times: number): Promise<void> => until(() => decided.length >= times, `${times} decisions`, 10_000);

describe("the sold-out watch", () => {
  it("flags again at its next look what was flagged, came back and was sold again; what is flagged it leaves alone", async () => {
    let looks = 0;
    watch(["a"], {
      ...ports,
      stock: (...asked) => {
        looks += 1;
        return ports.stock(...asked);
      },
    });
    await world.buy("a", ["u0", "u1"]);
    await world.untilApplied(["u0", "u1"]);
    await turns.next();
    await untilDecided(1);
    const before = looks;
    for (let turn = 0; turn < 5; turn += 1) await turns.next();
    expect(looks).toBe(before);

    await world.database.sql("INSERT INTO grants (sale_id, id, shard, units, kind) VALUES ('a', 'more', 0, 1, 'added')");
    await world.database.sql("UPDATE sales SET total_units = 3, returns_seq = returns_seq + 1, sold_out_version = NULL");
    const { epoch } = await world.state();
    await grant(world.redis, { shard: 0, epoch, saleId: "a", grantId: "more", units: 1 });
    await world.buy("a", ["u2"]);
    await world.untilApplied(["u2"]);
    await turns.next();
    await untilDecided(2);
    expect(decided).toEqual(["a", "a"]);
  });

  it("does not let one sale whose Redis hangs hold up another", async () => {
    let release = (): void => undefined;
    const hangs = new Promise<never>((_, reject) => {
      release = () => reject(new Error("no answer"));
    });
    watch(["hung", "a"], { ...ports, stock: (shard, saleId) => (saleId === "hung" ? hangs : ports.stock(shard, saleId)) });
    await world.buy("a", ["u0", "u1"]);
    await world.untilApplied(["u0", "u1"]);
    await turns.next();
    await untilDecided(1);
    expect(decided).toEqual(["a"]);
    release();
  });
});
