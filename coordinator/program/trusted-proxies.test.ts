import { describe, expect, it } from "vitest";
import { ConfigError, readConfig } from "./config.ts";
import { isInNetwork, readTrustedProxies, trustsNobody, type Network } from "./trusted-proxies.ts";

const networksOf = (text: string): readonly Network[] => {
  const read = readTrustedProxies(text);
  if (typeof read === "string" || "hops" in read) throw new Error(`${text}: ${JSON.stringify(read)}`);
  return read.networks;
};
const isTrusted = (text: string, address: readonly number[]): boolean =>
  networksOf(text).some((network) => isInNetwork(Uint8Array.from(address), network));

describe("DOORBUSTER_TRUSTED_PROXIES", () => {
  it("is a number of proxies", () => {
    expect(["", "0", "2", " 8 "].map(readTrustedProxies)).toEqual([{ hops: 0 }, { hops: 0 }, { hops: 2 }, { hops: 8 }]);
    expect(["0", "1", "10.0.0.0/8"].map((text) => trustsNobody(readTrustedProxies(text) as never))).toEqual([true, false, false]);
    expect(readTrustedProxies("9")).toContain("at most 8");
  });

  it("is a list of addresses and networks of both families", () => {
    const list = "10.0.0.0/8, 192.168.4.0/22,203.0.113.7 , fd00::/7,2001:db8::1";
    const trusted = [
      [10, 255, 0, 1],
      [192, 168, 7, 255],
      [203, 0, 113, 7],
      [0xfc, ...Array<number>(15).fill(1)],
      [0x20, 0x01, 0x0d, 0xb8, ...Array<number>(11).fill(0), 1],
    ];
    const others = [
      [11, 0, 0, 1],
      [192, 168, 8, 0],
      [203, 0, 113, 6],
      [0xfa, ...Array<number>(15).fill(1)],
      [0x20, 0x01, 0x0d, 0xb8, ...Array<number>(11).fill(0), 2],
    ];
    expect(trusted.map((address) => isTrusted(list, address))).toEqual(Array(5).fill(true));
    expect(others.map((address) => isTrusted(list, address))).toEqual(Array(5).fill(false));
  });

  it("takes IPv4 mapped into IPv6 as IPv4, and bits behind the prefix as if they were 0", () => {
    expect([isTrusted("::ffff:10.0.0.0/104", [10, 1, 2, 3]), isTrusted("10.9.9.9/8", [10, 1, 2, 3])]).toEqual([true, true]);
    expect([isTrusted("10.0.0.0/31", [10, 0, 0, 1]), isTrusted("10.0.0.0/31", [10, 0, 0, 2])]).toEqual([true, false]);
  });

  it("refuses what cannot be meant, by name", () => {
    for (const text of ["nginx", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "10/8", "127.1", "2,10.0.0.0/8", "fd00::/129", "-1", "1.5"])
      expect(readTrustedProxies(text), text).toEqual(expect.any(String));
    for (const text of ["0.0.0.0/0", "::/0", "::ffff:0:0/96"]) expect(readTrustedProxies(text), text).toContain("everybody");
  });
});

describe("DOORBUSTER_ADDRESS_HEADER", () => {
  const problemsOf = (environment: Readonly<Record<string, string>>): readonly string[] => {
    try {
      readConfig(["DOORBUSTER_TRUSTED_PROXIES", "DOORBUSTER_ADDRESS_HEADER"], environment);
      return [];
    } catch (error) {
      return (error as ConfigError).problems;
    }
  };

  it("needs somebody to be believed, and is not Forwarded", () => {
    expect(problemsOf({ DOORBUSTER_ADDRESS_HEADER: "CF-Connecting-IP", DOORBUSTER_TRUSTED_PROXIES: "1" })).toEqual([]);
    for (const nobody of ["", "0", "00"])
      expect(problemsOf({ DOORBUSTER_ADDRESS_HEADER: "X-Real-IP", DOORBUSTER_TRUSTED_PROXIES: nobody })).toEqual([
        "DOORBUSTER_ADDRESS_HEADER: is believed of trusted proxies only, and DOORBUSTER_TRUSTED_PROXIES names none",
      ]);
    expect(problemsOf({ DOORBUSTER_ADDRESS_HEADER: "Forwarded", DOORBUSTER_TRUSTED_PROXIES: "1" })).toEqual([
      expect.stringContaining("RFC 7239"),
    ]);
    expect(problemsOf({ DOORBUSTER_ADDRESS_HEADER: "X Real", DOORBUSTER_TRUSTED_PROXIES: "10.0.0.0/8/8" })).toHaveLength(2);
  });
});
