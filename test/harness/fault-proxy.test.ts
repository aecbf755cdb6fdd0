import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultProxy, until } from "./index.ts";

let server: Server;
let proxy: FaultProxy;
/** everything that the server was told, and its connections */
let heard = "";
let accepted: Socket[] = [];
let clients: Socket[] = [];

/** Repeats what it hears, in upper case. */
beforeEach(async () => {
  heard = "";
  accepted = [];
  clients = [];
  server = createServer((socket) => {
    accepted.push(socket);
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      heard += bytes.toString();
      socket.write(bytes.toString().toUpperCase());
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy = await FaultProxy.open((server.address() as AddressInfo).port);
});
afterEach(async () => {
  for (const client of clients) client.destroy();
  await proxy.close();
  for (const socket of accepted) socket.destroy();
  server.close();
});

interface Client {
  readonly socket: Socket;
  heard(): string;
  isClosed(): boolean;
}
const client = async (): Promise<Client> => {
  const socket = connect(proxy.port, "127.0.0.1");
  clients.push(socket);
  let text = "";
  let closed = false;
  socket.on("error", () => undefined).on("close", () => (closed = true));
  socket.on("data", (bytes) => (text += bytes.toString()));
  await once(socket, "connect");
  return { socket, heard: () => text, isClosed: () => closed };
};

/** What was sent before has certainly come to the server: it came through a second connection that passes. */
const answered = (one: Client, text: string): Promise<void> => until(() => one.heard() === text, `the answer ${text}`);

describe("a fault proxy", () => {
  it("passes bytes, and the end of a connection, in both directions", async () => {
    const one = await client();
    one.socket.write("hello");
    await answered(one, "HELLO");
    accepted[0]?.end();
    await until(() => one.isClosed(), "the client to be told of the end");
    expect(proxy.connections).toBe(0);
  });

  it("delays and drips, and keeps the order", async () => {
    const one = await client();
    proxy.set({ kind: "delay", ms: 5 });
    for (const word of ["a", "b", "c"]) one.socket.write(word);
    await answered(one, "ABC");
    proxy.set({ kind: "drip", bytes: 2, everyMs: 1 });
    one.socket.write("defghij");
    await answered(one, "ABCDEFGHIJ");
  });

  it("holds what is sent, and lets it arrive when the trouble ends", async () => {
    const one = await client();
    proxy.set({ kind: "hold" });
    one.socket.write("late");
    const other = connect((server.address() as AddressInfo).port, "127.0.0.1");
    clients.push(other);
    other.write("direct");
    await until(() => heard === "direct", "the direct connection to be heard");
    expect(one.heard()).toBe("");
    proxy.set({ kind: "pass" });
    await answered(one, "LATE");
  });

  it("holds answers only: what is sent is heard", async () => {
    const one = await client();
    proxy.set({ kind: "holdAnswers" });
    one.socket.write("early");
    await until(() => heard === "early", "the request to be heard");
    expect(one.heard()).toBe("");
    proxy.set({ kind: "pass" });
    await answered(one, "EARLY");
  });

  it("swallows what is sent into a black hole, and cuts the connection at its end", async () => {
    const one = await client();
    proxy.set({ kind: "blackHole" });
    one.socket.write("lost");
    const late = await client();
    late.socket.write("lost too");
    await until(() => late.socket.writableLength === 0 && one.socket.writableLength === 0, "everything to be sent");
    expect(one.isClosed() || late.isClosed()).toBe(false);
    proxy.set({ kind: "pass" });
    await until(() => one.isClosed() && late.isClosed(), "the connections to be cut");
    expect(heard).toBe("");
  });

  it("half open: the server is told of the end, the client is not", async () => {
    const one = await client();
    one.socket.write("x");
    await answered(one, "X");
    const gone = new Promise<void>((resolve) => void accepted[0]?.once("close", () => resolve()));
    proxy.set({ kind: "halfOpen" });
    await gone;
    one.socket.write("y");
    expect(one.isClosed()).toBe(false);
    proxy.set({ kind: "pass" });
    await until(() => one.isClosed(), "the client to be told");
    expect(heard).toBe("x");
  });

  it("cuts once, and refuses until the trouble ends", async () => {
    const one = await client();
    one.socket.write("x");
    await answered(one, "X");
    proxy.cut();
    await until(() => one.isClosed(), "the connection to be reset");
    const two = await client();
    two.socket.write("y");
    await answered(two, "Y");
    proxy.set({ kind: "refuse" });
    await until(() => two.isClosed(), "the second to be reset");
    const three = await client().catch(() => undefined);
    await until(() => three?.isClosed() !== false, "the third to be refused");
    proxy.set({ kind: "pass" });
    const four = await client();
    four.socket.write("z");
    await answered(four, "Z");
  });

  it("loses the answer of a request that was executed", async () => {
    const one = await client();
    const lost = proxy.loseAnswer((bytes) => bytes.includes("commit"));
    one.socket.write("insert");
    await answered(one, "INSERT");
    one.socket.write("commit");
    expect(await lost).toBe(true);
    await until(() => one.isClosed(), "the connection to be cut");
    expect(heard).toBe("insertcommit");
    expect(one.heard()).toBe("INSERT");
    const two = await client();
    two.socket.write("commit");
    await answered(two, "COMMIT");
    const silent = proxy.loseAnswer((bytes) => bytes.includes("commit"), "silent");
    two.socket.write("commit");
    expect(await silent).toBe(true);
    const three = await client();
    three.socket.write("x");
    await answered(three, "X");
    expect([two.heard(), two.isClosed()]).toEqual(["COMMIT", false]);
    proxy.set({ kind: "pass" });
    await until(() => two.isClosed(), "the silent connection to be cut");
    const never = proxy.loseAnswer(() => false);
    proxy.set({ kind: "pass" });
    expect(await never).toBe(false);
  });
});
