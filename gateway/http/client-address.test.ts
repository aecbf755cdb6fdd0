import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readTrustedProxies, type TrustedProxies } from "#program/trusted-proxies";
import { startEdgeWorld, ticketFor, type EdgeWorld } from "../../test/harness/edge-world.ts";
import { proxyHeader } from "../../test/harness/proxy-header.ts";
import { ask, request, Wire } from "../../test/harness/wire.ts";
import { addressBytes, addressKey, unmapped } from "../admission/address.ts";
import { AddressDoubt, clientOf } from "./client-address.ts";

const bytesOf = (text: string): Uint8Array => unmapped(addressBytes(text) as Uint8Array);
const OURS = "10.0.0.0/8,fd00::/8";

/** Who asks, as the address, with the doubt behind it if there is one. */
const client = (trustedProxies: string, from: string, told: { xff?: string; named?: string; other?: string; proxied?: string }): string => {
  const trusted = readTrustedProxies(trustedProxies) as TrustedProxies;
  const { xff: forwardedFor = "", named: namedAddress = "", other: otherForwarding = "", proxied } = told;
  const found = clientOf(
    trusted,
    told.named === undefined ? "" : "x-real-ip",
    () => bytesOf(from),
    proxied === undefined ? undefined : bytesOf(proxied),
    { forwardedFor, namedAddress, otherForwarding },
  );
  const address = found.address.length === 4 ? found.address.join(".") : addressKey(found.address);
  return found.doubt === undefined ? address : `${address} ${found.doubt}`;
};

describe("whose request it is, by networks", () => {
  it("goes back from the right while who says so is trusted", () => {
    expect(client(OURS, "10.0.0.1", { xff: "6.6.6.6, 203.0.113.9, 10.2.2.2" })).toBe("203.0.113.9");
    expect(client(OURS, "fd00::1", { xff: "6.6.6.6,203.0.113.9,::ffff:10.2.2.2" })).toBe("203.0.113.9");
    expect(client(OURS, "10.0.0.1", { xff: "10.1.1.1" })).toBe("10.1.1.1");
  });

  it("believes nothing of who is not trusted himself, and says so", () => {
    expect(client(OURS, "203.0.113.1", { xff: "1.1.1.1" })).toBe("203.0.113.1 untrusted");
    expect(client(OURS, "203.0.113.1", { other: "forwarded" })).toBe("203.0.113.1 untrusted");
    expect(client(OURS, "203.0.113.1", {})).toBe("203.0.113.1");
    expect(client("0", "203.0.113.1", { xff: "1.1.1.1" })).toBe("203.0.113.1 untrusted");
  });

  it("reads ports and brackets, passes over empty entries, and stops at what is no address", () => {
    const seen = (xff: string): string => client(OURS, "10.0.0.1", { xff });
    expect(["203.0.113.9:1234", " 203.0.113.9 ,", "1.1.1.1,,203.0.113.9,, "].map(seen)).toEqual(Array(3).fill("203.0.113.9"));
    expect(seen("[2001:db8:1:2::1]:80")).toBe("20010db800010002");
    expect(["unknown", "_hidden", "", " , ", "203.0.113.9, unknown"].map(seen)).toEqual(Array(5).fill("10.0.0.1 untold"));
    expect(seen("unknown, 10.3.3.3")).toBe("10.3.3.3");
  });

  it("takes a named header whole or not at all", () => {
    expect(client(OURS, "10.0.0.1", { named: " 203.0.113.9 ", xff: "1.1.1.1" })).toBe("203.0.113.9");
    expect(client(OURS, "10.0.0.1", { named: "203.0.113.9,1.1.1.1" })).toBe("10.0.0.1 untold");
    expect(client(OURS, "10.0.0.1", { named: "", xff: "1.1.1.1" })).toBe("10.0.0.1 untold");
    expect(client(OURS, "203.0.113.1", { named: "1.1.1.1" })).toBe("203.0.113.1 untrusted");
  });

  it("begins with what PROXY protocol says, and reads on only if that is trusted too", () => {
    expect(client(OURS, "10.0.0.1", { proxied: "203.0.113.9", xff: "1.1.1.1" })).toBe("203.0.113.9");
    expect(client(OURS, "10.0.0.1", { proxied: "10.5.5.5", xff: "1.1.1.1" })).toBe("1.1.1.1");
    expect(client(OURS, "10.0.0.1", { proxied: "10.5.5.5", named: "1.1.1.1" })).toBe("1.1.1.1");
    expect(client(OURS, "10.0.0.1", { proxied: "203.0.113.9", named: "1.1.1.1" })).toBe("203.0.113.9");
  });
});

describe("whose request it is, by a number of proxies", () => {
  it("goes back so many hops, whoever they are", () => {
    const xff = "1.1.1.1, 2.2.2.2, 3.3.3.3";
    expect(["1", "2", "3"].map((hops) => client(hops, "203.0.113.1", { xff }))).toEqual(["3.3.3.3", "2.2.2.2", "1.1.1.1"]);
  });

  it("ends at the last that somebody said where the chain is shorter", () => {
    expect(client("2", "203.0.113.1", { xff: "3.3.3.3" })).toBe("3.3.3.3");
    expect(client("2", "203.0.113.1", { xff: "evil, 3.3.3.3" })).toBe("3.3.3.3");
    expect(client("1", "203.0.113.1", { xff: "evil" })).toBe("203.0.113.1 untold");
    expect(client("1", "203.0.113.1", {})).toBe("203.0.113.1 untold");
  });

  it("counts a PROXY header as a hop", () => {
    expect(client("1", "10.0.0.1", { proxied: "2.2.2.2", xff: "1.1.1.1" })).toBe("2.2.2.2");
    expect(client("2", "10.0.0.1", { proxied: "2.2.2.2", xff: "1.1.1.1" })).toBe("1.1.1.1");
    expect(client("2", "10.0.0.1", { proxied: "2.2.2.2" })).toBe("2.2.2.2");
  });
});

let trusting: EdgeWorld;
let doubting: EdgeWorld;
const doubts: string[] = [];
beforeAll(async () => {
  [trusting, doubting] = await Promise.all([
    startEdgeWorld({ trustedProxies: "127.0.0.1" }),
    startEdgeWorld({ onAddressDoubt: (doubt, sentence, peer) => doubts.push(`${doubt} ${peer} ${sentence}`) }),
  ]);
});
afterAll(() => {
  trusting.close();
  doubting.close();
});

const buy = (headers: readonly string[] = [], uid = "soldOut"): string => request("POST", `/buy/${ticketFor(uid)}`, headers);
const addressOf = async (edge: EdgeWorld, text: string): Promise<string | undefined> => {
  edge.service.bought.length = 0;
  await ask(edge.port, text);
  return edge.service.bought[0]?.address;
};

describe("on the wire", () => {
  it("reads several header lines in their order, and exempts loopback only as the connection's own address", async () => {
    expect(await addressOf(trusting, buy(["X-Forwarded-For: 9.9.9.9", "X-Forwarded-For: 5.6.7.8"]))).toBe("05060708");
    expect(await addressOf(trusting, buy(["X-Forwarded-For: 9.9.9.9", "X-FORWARDED-FOR: 5.6.7.8, 127.0.0.1"]))).toBe("05060708");
    expect(await addressOf(trusting, buy(["X-Forwarded-For: 127.0.0.2"]))).toBe("7f000002");
    expect(await addressOf(trusting, buy(["X-Forwarded-For: nonsense"]))).toBe("");
    expect(await addressOf(trusting, buy())).toBe("");
  });

  it("reads a header of any name, if it is named, and X-Forwarded-For then no more", async () => {
    const named = await startEdgeWorld({ trustedProxies: 1, addressHeader: "Fastly-Client-IP" });
    expect(await addressOf(named, buy(["Fastly-Client-Ip: 5.6.7.8", "X-Forwarded-For: 1.1.1.1"]))).toBe("05060708");
    expect(await addressOf(named, buy(["X-Forwarded-For: 1.1.1.1"]))).toBe("");
    named.close();
    const usual = await startEdgeWorld({ trustedProxies: 1, addressHeader: "X-Forwarded-For" });
    expect(await addressOf(usual, buy(["X-Forwarded-For: 6.6.6.6, 5.6.7.8"]))).toBe("05060708");
    usual.close();
  });

  it("refuses to be mounted with proxies that cannot be meant", async () => {
    for (const options of [{ trustedProxies: "nginx" }, { trustedProxies: 9 }, { addressHeader: "X-Real-IP" }])
      await expect(startEdgeWorld(options)).rejects.toThrow(TypeError);
  });

  it("takes PROXY protocol v2 from a trusted proxy, for every request of the connection", async () => {
    trusting.service.bought.length = 0;
    const wire = await Wire.open(trusting.port);
    wire.write(proxyHeader("203.0.113.9"));
    for (const headers of [[], ["X-Forwarded-For: 1.1.1.1"]]) await wire.write(buy(headers)).answer();
    wire.destroy();
    expect(trusting.service.bought.map(({ address }) => address)).toEqual(["cb007109", "cb007109"]);
    expect(await addressOf(trusting, proxyHeader("2001:db8:1:2::9") + buy())).toBe("20010db800010002");
    // LOCAL, as a balancer's own health checks send it: the connection's own address
    expect(await addressOf(trusting, proxyHeader(undefined) + buy())).toBe("");
  });

  it("answers 400 to PROXY protocol v2 from anybody else, and closes", async () => {
    doubting.service.bought.length = 0;
    for (const text of [buy(), request("GET", "/healthz"), request("GET", "/sales/sale-1"), request("GET", "/nowhere"), LIVE]) {
      const wire = await Wire.open(doubting.port);
      const answer = await wire.write(proxyHeader("203.0.113.9") + text).answer();
      expect([answer?.status, JSON.parse(answer?.body ?? "{}")]).toMatchObject([400, { code: "bad_request" }]);
      expect(answer?.body).toContain("DOORBUSTER_TRUSTED_PROXIES");
      await wire.closed();
    }
    expect(doubting.service.bought).toEqual([]);
  });

  it("says aloud that somebody forwards who is not trusted", async () => {
    const quiet = await startEdgeWorld();
    const ready = async (): Promise<unknown> => JSON.parse((await ask(quiet.port, request("GET", "/readyz")))?.body ?? "");
    expect(await ready()).toEqual({ status: "ready" });
    expect(quiet.mounted.addressDoubts).toEqual({ untrusted: 0, untold: 0 });
    // a refusal of the cheapest kind counts, too
    for (const header of ["X-Forwarded-For: 1.1.1.1", "Forwarded: for=1.1.1.1", "X-Real-IP: 1.1.1.1", "CF-Connecting-IP: 1.1.1.1"])
      await ask(quiet.port, request("POST", `/buy/${ticketFor("crowd")}`, [header]));
    expect(quiet.mounted.addressDoubts).toEqual({ untrusted: 4, untold: 0 });
    expect(await ready()).toEqual({ status: "ready", detail: expect.stringContaining("DOORBUSTER_TRUSTED_PROXIES") });
    quiet.close();
    const before = doubts.length;
    await ask(doubting.port, buy(["X-Forwarded-For: 1.1.1.1"]));
    expect(doubts.slice(0, before + 1)).toContainEqual(expect.stringMatching(/^untrusted 127\.0\.0\.1 .*DOORBUSTER_TRUSTED_PROXIES/));
  });

  it("outlives a host that throws when it is told", async () => {
    const broken = await startEdgeWorld({
      onAddressDoubt: () => {
        throw new Error("a broken host");
      },
    });
    expect((await ask(broken.port, request("POST", `/buy/${ticketFor("crowd")}`, ["X-Forwarded-For: 1.1.1.1"])))?.status).toBe(409);
    expect(broken.faults.map(String)).toEqual(["Error: a broken host"]);
    broken.close();
  });

  it("says aloud that a trusted proxy does not tell whose requests it forwards", async () => {
    const before = trusting.mounted.addressDoubts[AddressDoubt.untold];
    await ask(trusting.port, buy());
    expect(trusting.mounted.addressDoubts[AddressDoubt.untold]).toBe(before + 1);
  });
});

const LIVE = request("GET", `/live?ticket=${ticketFor("win")}`, [
  "Upgrade: websocket",
  "Connection: Upgrade",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version: 13",
]);

describe("a limit for GETs", () => {
  it("answers 429 with Retry-After, and looks an address up only where it is asked for", async () => {
    const read = (uid: string) => ask(trusting.port, request("GET", `/buy/${ticketFor(uid)}`, ["X-Forwarded-For: 5.6.7.8"]));
    trusting.service.looked.length = 0;
    const often = await read("often");
    expect([often?.status, often?.headers["retry-after"], JSON.parse(often?.body ?? "")]).toMatchObject([
      429,
      "2",
      { code: "rate_limited" },
    ]);
    expect(trusting.service.looked).toEqual([{ uid: "often", key: "", address: "05060708" }]);

    const sale = (id: string) => ask(trusting.port, request("GET", `/sales/${id}`, ["X-Forwarded-For: 5.6.7.8"]));
    trusting.service.readers.length = 0;
    expect((await sale("sale-1"))?.status).toBe(200);
    expect(trusting.service.readers).toEqual([]);
    expect((await sale("none"))?.status).toBe(404);
    expect(trusting.service.readers).toEqual(["05060708"]);
    trusting.service.isReadLimited = true;
    for (const id of ["sale-1", "none", "a%20b"]) {
      const answer = await sale(id);
      expect([answer?.status, answer?.headers["retry-after"], answer?.headers["cache-control"]], id).toEqual([429, "2", "no-store"]);
    }
    trusting.service.isReadLimited = false;
  });
});
