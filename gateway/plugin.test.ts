import { describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { startEdgeWorld, ticketFor } from "../test/harness/edge-world.ts";
import { ask, request, Wire } from "../test/harness/wire.ts";

describe("the plugin", () => {
  it("lives inside another app, below a prefix, and leaves the app's own routes alone", async () => {
    const edge = await startEdgeWorld({ prefix: "/flash/v1" }, (app) => {
      app.get("/healthz", (res) => void res.end("the host's own"));
      app.any("/*", (res) => void res.writeStatus("404 Not Found").end("the host's 404"));
    });
    const ticket = ticketFor("win");
    const won = await ask(edge.port, request("POST", `/flash/v1/buy/${ticket}`));
    expect([won?.status, won?.headers["location"]]).toEqual([202, `/flash/v1/buy/${ticket}?order=0-1-3-0`]);
    expect((await ask(edge.port, request("GET", "/flash/v1/sales/sale-1")))?.status).toBe(200);
    expect((await ask(edge.port, request("GET", "/healthz")))?.body).toBe("the host's own");
    expect((await ask(edge.port, request("POST", `/buy/${ticket}`)))?.body).toBe("the host's 404");
    expect((await ask(edge.port, request("GET", "/flash/v1/nowhere")))?.headers["content-type"]).toBe("application/problem+json");
    edge.close();
  });

  it("leaves what it does not know to the host when it has no prefix", async () => {
    const edge = await startEdgeWorld({ notFound: false }, (app) => void app.any("/*", (res) => void res.end("the host's own")));
    expect((await ask(edge.port, request("GET", "/nowhere")))?.body).toBe("the host's own");
    expect((await ask(edge.port, request("DELETE", "/healthz")))?.status).toBe(405);
    edge.close();
  });

  it("refuses a prefix that is no path", async () => {
    for (const prefix of ["flash", "/flash/", "/", "/:x", "/*", "/a\r\nb"])
      await expect(startEdgeWorld({ prefix })).rejects.toThrow(TypeError);
  });
});

describe("drain", () => {
  it("answers what is held, closes connections with their answers and sockets with 1012, then is idle", async () => {
    const edge = await startEdgeWorld();
    const hanging = await Wire.open(edge.port);
    hanging.write(request("POST", `/buy/${ticketFor("hang")}`));
    const held = await Wire.open(edge.port);
    held.write(request("POST", `/buy/${ticketFor("win")}`, ["Prefer: wait=30"]));
    const kept = await Wire.open(edge.port);
    expect((await kept.write(request("GET", "/readyz")).answer())?.status).toBe(200);
    const socket = new WebSocket(`ws://127.0.0.1:${edge.port}/live?ticket=${ticketFor("win")}`);
    const closed = new Promise<number>((resolve) => void socket.on("close", resolve));
    await new Promise((resolve) => void socket.on("open", resolve));
    await expect.poll(() => [edge.service.hanging.length, edge.service.waiting.size], { timeout: 10_000 }).toEqual([1, 1]);

    edge.stopListening();
    const drained = edge.mounted.drain();
    const answers = await Promise.all([hanging.answer(), held.answer(), kept.write(request("GET", "/readyz")).answer()]);
    expect(answers.map((answer) => [answer?.status, answer?.headers["connection"]])).toEqual([
      [202, "close"],
      [202, "close"],
      [503, "close"],
    ]);
    expect(await closed).toBe(1012);
    await drained;
    await Promise.all([hanging.closed(), held.closed(), kept.closed()]);
    expect([edge.mounted.waiting(), edge.mounted.sockets(), edge.service.drained]).toEqual([0, 0, true]);
    await expect(Wire.open(edge.port)).rejects.toThrow("ECONNREFUSED");
    edge.close();
  });
});
