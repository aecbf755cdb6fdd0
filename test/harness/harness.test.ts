import { Redis } from "ioredis";
import { connect } from "nats";
import { Client } from "pg";
import { describe, expect, it } from "vitest";
import { emptyDatabase, freshDatabase, startNats, startRedis, until } from "./index.ts";

describe("the harness", () => {
  it("kills a Redis and starts it again on the same port with its data", async () => {
    const server = await startRedis();
    const redis = new Redis(server.url).on("error", () => undefined);
    await redis.set("key", "value");
    const { pid } = server;
    await server.kill();
    await server.start();
    expect(server.pid).not.toBe(pid);
    expect(await redis.get("key")).toBe("value");
    redis.disconnect();
    await server.stop();
  });

  it("starts a NATS with JetStream that asks for its credentials", async () => {
    const server = await startNats();
    await expect(connect({ servers: server.url, reconnect: false })).rejects.toMatchObject({ code: "AUTHORIZATION_VIOLATION" });
    const nats = await connect({ servers: server.url, user: server.user, pass: server.pass });
    const manager = await nats.jetstreamManager();
    await manager.streams.add({ name: "one", subjects: ["one"], max_bytes: 1 << 30 });
    expect(await manager.streams.names().next()).toEqual(["one"]);
    await nats.close();
    await server.stop();
  });

  it("gives each caller a database of its own", async () => {
    const [one, two] = await Promise.all([emptyDatabase(), emptyDatabase()]);
    const client = new Client({ connectionString: one.url });
    await client.connect();
    await client.query("create table only_here (id int)");
    await client.end();
    const other = new Client({ connectionString: two.url });
    await other.connect();
    await expect(other.query("select * from only_here")).rejects.toMatchObject({ code: "42P01" });
    await other.end();
    await Promise.all([one.drop(), two.drop()]);
  });

  it("gives a database with the tables of the programs", async () => {
    const database = await freshDatabase();
    const client = new Client({ connectionString: database.url });
    await client.connect();
    expect((await client.query("select * from orders")).rows).toEqual([]);
    await client.end();
    await database.drop();
  });

  it("says what it waited for", async () => {
    await expect(until(() => false, "the impossible", 30)).rejects.toThrow("the impossible");
  });
});
