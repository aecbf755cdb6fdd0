import { describe, expect, it } from "vitest";
import { readConfig } from "./config.ts";
import { readOrigin } from "./origins.ts";

describe("an allowed origin", () => {
  it("is read as browsers write it", () => {
    const cases: [string, string][] = [
      ["https://shop.example", "https://shop.example"],
      ["https://shop.example:8443", "https://shop.example:8443"],
      ["HTTPS://Shop.Example", "https://shop.example"],
      ["https://shop.example:443", "https://shop.example"],
      ["http://shop.example:80", "http://shop.example"],
      ["http://shop.example:443", "http://shop.example:443"],
      ["https://限量.example", "https://xn--3m4ar2g.example"],
      ["http://127.0.0.1:5173", "http://127.0.0.1:5173"],
      ["http://[2001:DB8::1]:8080", "http://[2001:db8::1]:8080"],
      ["capacitor://localhost", "capacitor://localhost"],
    ];
    for (const [text, origin] of cases) expect(readOrigin(text), text).toEqual({ origin });
  });

  it("is refused where it is none, or anybody's, with what would be right", () => {
    const cases: [string, RegExp][] = [
      ["*", /wildcard: name each origin/],
      ["https://*.shop.example", /wildcard/],
      ["null", /sandboxed/],
      ["shop.example", /scheme:\/\/host/],
      ["https://", /scheme:\/\/host/],
      ["https://shop.example/", /leave '\/' out/],
      ["https://shop.example/sale", /leave '\/sale' out/],
      ["https://shop.example?a=b", /leave '\?a=b' out/],
      ["https://ann@shop.example", /credentials/],
      ["https://shop.example:99999", /host or port/],
      ["https://shop example", /leave ' example' out/],
    ];
    for (const [text, why] of cases) expect(readOrigin(text), text).toEqual({ why: expect.stringMatching(why) });
  });

  it("is named in the error of the setting, all wrong ones together", () => {
    const read = (value: string): unknown => readConfig(["DOORBUSTER_ALLOWED_ORIGINS"], { DOORBUSTER_ALLOWED_ORIGINS: value });
    expect(read(" https://a.example , http://B.example:80,")).toEqual({
      DOORBUSTER_ALLOWED_ORIGINS: ["https://a.example", "http://b.example"],
    });
    expect(read("")).toEqual({ DOORBUSTER_ALLOWED_ORIGINS: [] });
    expect(() => read("https://a.example/,*")).toThrow(
      "DOORBUSTER_ALLOWED_ORIGINS: 'https://a.example/' is not only an origin: leave '/' out\n  - DOORBUSTER_ALLOWED_ORIGINS: '*' has a wildcard",
    );
  });
});
