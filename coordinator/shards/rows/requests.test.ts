import type { Msg, NatsConnection } from "nats";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startNats, type NatsServer } from "../../../test/harness/index.ts";
import { connectNats } from "#program";
import { requests } from "#protocol/requests";
import { WORKERS } from "#protocol/subjects";
import { createUnitFacts } from "./requests.ts";

let nats: NatsServer;
let connection: NatsConnection;
beforeAll(async () => {
  nats = await startNats();
  connection = await connectNats({ NATS_URL: nats.url, NATS_USER: nats.user, NATS_PASSWORD: nats.pass }, "rows-test");
});
afterAll(async () => {
  await connection.close();
  await nats.stop();
});

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0)) end();
});

/** A worker that does what it is told with the requests as they come. */
const worker = (accept: (message: Msg, nth: number) => void): { readonly asked: number } => {
  const state = { asked: 0 };
  const subscription = connection.subscribe(requests.drainingShards.subject, {
    queue: WORKERS,
    callback: (_error, message) => accept(message, state.asked++),
  });
  ends.push(() => subscription.unsubscribe());
  return state;
};
const answer = (message: Msg, shard: number): void => void message.respond(JSON.stringify({ ok: true, value: [shard] }));

describe("what a coordinator asks of the workers", () => {
  it("is asked again beside, when the process that has it stands still", async () => {
    const state = worker((message, nth) => {
      if (nth > 1) answer(message, nth);
    });
    expect(await createUnitFacts(connection).draining()).toEqual([2]);
    expect(state.asked).toBe(3);
  });

  it("is taken from the first who was asked, too, however late", async () => {
    let first: Msg | undefined;
    worker((message, nth) => {
      first ??= message;
      if (nth === 3) answer(first, 0);
    });
    expect(await createUnitFacts(connection).draining()).toEqual([0]);
  });

  it("is asked once of who answers, and fails at once when nobody is there", async () => {
    await expect(createUnitFacts(connection).draining()).rejects.toThrow("503");
    const state = worker((message) => answer(message, 7));
    for (let n = 0; n < 3; n += 1) expect(await createUnitFacts(connection).draining()).toEqual([7]);
    expect(state.asked).toBe(3);
  });
});
