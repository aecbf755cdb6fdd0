import { connect, type NatsConnection } from "nats";
import { afterAll, beforeAll, expect, it } from "vitest";
import { systemClock } from "#program/system";
import type { SaleRecord } from "#protocol/sale";
import { SALES_BUCKET } from "#protocol/subjects";
import { startNats, until, type NatsServer } from "../../../test/harness/index.ts";
import { SalesView } from "./sales.ts";
import { saleRecord } from "../../../test/harness/sale-record.ts";

let server: NatsServer;
let nats: NatsConnection;
beforeAll(async () => {
  server = await startNats();
  nats = await connect({ servers: server.url, user: server.user, pass: server.pass });
});
afterAll(async () => {
  await nats.close();
  await server.stop();
});

const record = (id: string): SaleRecord => saleRecord({ id, opensAtMs: 1, closesAtMs: 2 });

it("records that are no sales are reported and passed over: the sales behind them are known", async () => {
  const bucket = await nats.jetstream().views.kv(SALES_BUCKET);
  await bucket.put("torn", "{");
  await bucket.put("foreign", JSON.stringify({ ...record("foreign"), shards: [] }));
  await bucket.put("phone", JSON.stringify(record("phone")));
  const stop = new AbortController();
  const faults: unknown[] = [];
  const sales = new SalesView(nats, systemClock, (error) => faults.push(error));
  const running = sales.run(stop.signal);
  await until(() => sales.get("phone") !== undefined, "the sale is known");
  expect([...sales.all()]).toEqual([record("phone")]);
  expect(faults.map((fault) => (fault as Error).message)).toEqual([
    "the record of sale torn, revision 1, is passed over: not JSON",
    expect.stringContaining("the record of sale foreign, revision 2, is passed over: shards: "),
  ]);
  stop.abort();
  await running;
});
