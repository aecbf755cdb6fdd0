import { AckPolicy, type ConsumerInfo } from "nats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectNats } from "#program/connect";
import { LOG_STREAM } from "#protocol/subjects";
import { startNats, type NatsServer } from "../../../test/harness/index.ts";
import { isSound, makeConsumer } from "./consumer.ts";
import { verifyStream } from "./stream.ts";

let nats: NatsServer;
let consumer: ConsumerInfo;
beforeAll(async () => {
  nats = await startNats();
  const connection = await connectNats({ NATS_URL: nats.url, NATS_USER: nats.user, NATS_PASSWORD: nats.pass }, "test");
  const manager = await connection.jetstreamManager();
  await verifyStream(manager, 16 << 20);
  await makeConsumer(manager, 3, "this-run", "nonce");
  await connection.request("orders.3", "one");
  await connection.request("$JS.API.CONSUMER.MSG.NEXT.orders.shard-3-nonce", JSON.stringify({ batch: 1 }), { noMux: true, timeout: 2_000 });
  consumer = await manager.consumers.info(LOG_STREAM, "shard-3-nonce");
  await connection.close();
});
afterAll(async () => {
  await nats.stop();
});

describe("a consumer can be trusted", () => {
  it("when it was made by us on this run of the broker and is not ahead of its stream", () => {
    expect(consumer.delivered.stream_seq).toBe(1);
    expect(isSound(consumer, 3, "this-run", 1)).toBe(true);
    expect(isSound(consumer, 3, "this-run", 7)).toBe(true);
  });

  it("not when it was delivered more than the stream has", () => {
    expect(isSound(consumer, 3, "this-run", 0)).toBe(false);
  });

  it("not when the broker was started since", () => {
    expect(isSound(consumer, 3, "another-run", 1)).toBe(false);
  });

  it("not when it is of another shard or configured otherwise", () => {
    expect(isSound(consumer, 4, "this-run", 1)).toBe(false);
    const { config } = consumer;
    expect(isSound({ ...consumer, config: { ...config, max_ack_pending: 2 } }, 3, "this-run", 1)).toBe(false);
    expect(isSound({ ...consumer, config: { ...config, ack_policy: AckPolicy.None } }, 3, "this-run", 1)).toBe(false);
  });
});
