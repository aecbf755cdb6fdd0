import type { NatsConnection } from "nats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { publications } from "#protocol/requests/publications";
import { eventsByEntry, type StatusEvent } from "#protocol/status";
import { startNats, until, type NatsServer } from "../../../test/harness/index.ts";
import { connectNats } from "../connect.ts";
import { requestWhole, respond } from "./large-reply.ts";
import { hear, publish } from "./publish.ts";

/** What does not fit into a message of the broker, which takes 4 kB. */
const PAYLOAD = 4 << 10;

let nats: NatsServer;
let worker: NatsConnection;
let asker: NatsConnection;
let value: unknown;
beforeAll(async () => {
  nats = await startNats({ settings: () => [`max_payload: ${PAYLOAD}`] });
  const config = { NATS_URL: nats.url, NATS_USER: nats.user, NATS_PASSWORD: nats.pass };
  [worker, asker] = await Promise.all([connectNats(config, "worker"), connectNats(config, "asker")]);
  worker.subscribe("list", { callback: (_error, message) => respond(worker, message, { ok: true, value }) });
  await worker.flush();
});
afterAll(async () => {
  await Promise.all([worker.close(), asker.close()]);
  await nats.stop();
});

describe("a reply", () => {
  it.each([0, 1, 3, 40])("of %d kB comes whole, text of several bytes a character, too", async (kilobytes) => {
    value = "多".repeat((kilobytes << 10) / 3);
    const reply = await requestWhole(asker, "list", "{}", 2_000);
    expect(JSON.parse(new TextDecoder().decode(reply))).toEqual({ ok: true, value });
  });

  it("that is too large for who does not know of parts says why there is none", async () => {
    value = "x".repeat(3 * PAYLOAD);
    expect((await asker.request("list", "{}")).json()).toEqual({
      ok: false,
      code: "unavailable",
      detail: expect.stringMatching(/12\d{3} bytes.*max_payload is 4096/),
    });
  });
});

describe("a status event", () => {
  it("that is too large is told entry by entry, each with its own refusals", async () => {
    const heard: StatusEvent[] = [];
    hear(asker, publications.status, { heard: (event) => heard.push(event) });
    await asker.flush();
    const purchases = Array.from({ length: 40 }, (_, n) => `${"b".repeat(60)}${n}`).join(" ");
    const event: StatusEvent = {
      shard: 3,
      epoch: 1,
      applied: 9,
      orders: [
        [7, "a", purchases],
        [8, "a", purchases],
      ],
      rejected: [
        ["3-1-2-0", "quota"],
        ["3-1-8-4", "quota"],
      ],
    };
    publish(worker, publications.status, 3, event, eventsByEntry);
    await until(() => heard.length === 3, "three events");
    expect(heard.map(({ applied, orders, rejected }) => [applied, orders.map(([seq]) => seq), rejected.map(([id]) => id)])).toEqual([
      [7, [7], []],
      [8, [8], ["3-1-8-4"]],
      [9, [], []],
    ]);
  });

  it("of which an entry is too large is not told, and breaks nothing", () => {
    const event: StatusEvent = { shard: 3, epoch: 1, applied: 7, orders: [[7, "a", "b".repeat(2 * PAYLOAD)]], rejected: [] };
    expect(() => publish(worker, publications.status, 3, event, eventsByEntry)).not.toThrow();
  });
});
