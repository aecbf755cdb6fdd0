import { createHmac } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readTicket, signTicket, ticketKeys, verifyTicket } from "./ticket.ts";

const keys = ticketKeys([{ id: "k1", secret: "a secret of sixteen or more" }]);
const NOW_MS = Date.UTC(2026, 10, 11);
const fields = { saleId: "sale-1", uid: "user_1", expiresAtMs: NOW_MS + 1_000 };
const verdict = (text: string, nowMs = NOW_MS, by = keys): string => {
  return readTicket(text) === undefined ? "unreadable" : verifyTicket(by, text, nowMs);
};
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".split("");
const idArbitrary = fc.string({ unit: fc.constantFrom(...ALPHABET), minLength: 1, maxLength: 64 });

describe("ticket", () => {
  it("gives back what was signed, for any ids and expiry", () => {
    fc.assert(
      fc.property(
        idArbitrary,
        idArbitrary,
        fc.integer({ min: Date.UTC(2000, 0, 1), max: Date.UTC(2100, 0, 1) }),
        (saleId, uid, expiresAtMs) => {
          const text = signTicket(keys, { saleId, uid, expiresAtMs });
          expect(readTicket(text)).toEqual({ saleId, uid });
          expect(verdict(text, expiresAtMs - 1)).toBe("ok");
          expect(verdict(text, expiresAtMs)).toBe("ticket_expired");
          expect(text).toMatch(/^[A-Za-z0-9_-]{59,200}$/);
        },
      ),
    );
  });

  it("is an ordinary HMAC-SHA256 of everything before it, also with a key longer than a block", () => {
    for (const secret of ["0123456789abcdef", "x".repeat(64), "y".repeat(65), "ключ-秘密-".repeat(20)]) {
      const text = signTicket(ticketKeys([{ id: "k", secret }]), fields);
      expect(text.slice(-43)).toBe(createHmac("sha256", secret).update(text.slice(0, -43)).digest("base64url"));
    }
  });

  it("is refused after a change of any one character", () => {
    const text = signTicket(keys, fields);
    for (let at = 0; at < text.length; at++) {
      for (const character of ["A", "B", "z", "0", "_", ".", "%", "é", "\n"]) {
        if (text[at] === character) continue;
        const forged = text.slice(0, at) + character + text.slice(at + 1);
        expect(["unreadable", "ticket_invalid"], `${at} ${character}`).toContain(verdict(forged));
      }
    }
  });

  it("has one spelling: the mac's last character has no free bits", () => {
    const text = signTicket(keys, fields);
    const accepted = ALPHABET.filter((last) => verdict(text.slice(0, -1) + last) === "ok");
    expect(accepted).toEqual([text.at(-1)]);
  });

  it("is refused shortened, lengthened, empty, and in other encodings", () => {
    const text = signTicket(keys, fields);
    for (let length = 0; length < text.length; length++) expect(verdict(text.slice(0, length))).not.toBe("ok");
    for (const other of [
      `${text}A`,
      `A${text}`,
      ` ${text}`,
      `${text}\n`,
      `${text}=`,
      text.toUpperCase(),
      encodeURIComponent(`${text}=`),
      "x".repeat(100_000),
    ])
      expect(["unreadable", "ticket_invalid"]).toContain(verdict(other));
  });

  it("is refused with a character whose low byte alone is right", () => {
    const text = signTicket(keys, fields);
    for (let at = 0; at < text.length; at++) {
      const forged = text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) + 256) + text.slice(at + 1);
      expect(["unreadable", "ticket_invalid"], String(at)).toContain(verdict(forged));
    }
  });

  it("is not read at all if its lengths do not add up to it", () => {
    const text = signTicket(keys, fields);
    const end = text.length - 43 - 9;
    expect(readTicket(`${text.slice(0, end)}A${text.slice(end)}`)).toBeUndefined();
    expect(readTicket(text.slice(0, end - 1) + text.slice(end))).toBeUndefined();
    expect(readTicket(`1${"A".repeat(text.length - 1)}`)).toBeUndefined();
    expect(readTicket(`1${"_".repeat(text.length - 1)}`)).toBeUndefined();
  });

  it("does not let characters move from one field to the next", () => {
    const one = signTicket(keys, { ...fields, saleId: "ab", uid: "c" });
    const two = signTicket(keys, { ...fields, saleId: "a", uid: "bc" });
    expect(one.slice(-43)).not.toBe(two.slice(-43));
    expect(verdict(two.slice(0, -43) + one.slice(-43))).toBe("ticket_invalid");
  });

  it("never reads arbitrary text as good, and never throws", () => {
    fc.assert(fc.property(fc.string({ maxLength: 250 }), (text) => verdict(text) !== "ok"));
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...ALPHABET), minLength: 58, maxLength: 200 }), (text) => verdict(`1${text}`) !== "ok"),
    );
  });

  it("rotates: a new key in front signs, tickets of the old one stay good until it goes", () => {
    const old = signTicket(keys, fields);
    const both = ticketKeys([
      { id: "k2", secret: "another secret, sixteen or more" },
      { id: "k1", secret: "a secret of sixteen or more" },
    ]);
    const fresh = signTicket(both, fields);
    expect([old, fresh].map((text) => text.slice(2, 4))).toEqual(["k1", "k2"]);
    expect([verdict(old, NOW_MS, both), verdict(fresh, NOW_MS, both)]).toEqual(["ok", "ok"]);
    const only = ticketKeys([{ id: "k2", secret: "another secret, sixteen or more" }]);
    expect([verdict(old, NOW_MS, only), verdict(fresh, NOW_MS, only)]).toEqual(["ticket_invalid", "ok"]);
  });

  it("tells a forged expired ticket from a genuine one", () => {
    const text = signTicket(keys, fields);
    const forged = text.slice(0, -1) + (text.endsWith("A") ? "E" : "A");
    expect([verdict(text, NOW_MS + 5_000), verdict(forged, NOW_MS + 5_000)]).toEqual(["ticket_expired", "ticket_invalid"]);
  });

  it("refuses to be made of bad ids, expiries or keys", () => {
    for (const bad of [
      { uid: "" },
      { uid: "a:b" },
      { saleId: "x".repeat(65) },
      { expiresAtMs: -1 },
      { expiresAtMs: 1.5 },
      { expiresAtMs: 36 ** 9 },
      { expiresAtMs: Number.NaN },
    ])
      expect(() => signTicket(keys, { ...fields, ...bad })).toThrow(TypeError);
    // `exp` of a JWT is in seconds, a clock of Go's in nanoseconds: neither is a ticket that expired long ago, or never
    for (const [expiresAtMs, unit] of [
      [fields.expiresAtMs / 1_000, "seconds"],
      [fields.expiresAtMs * 1_000, "microseconds"],
      [fields.expiresAtMs * 1e6, "nanoseconds"],
    ] as const)
      expect(() => signTicket(keys, { ...fields, expiresAtMs })).toThrow(
        new RegExp(`^expiresAtMs must be whole milliseconds.* in ${unit}$`),
      );
    expect(() => ticketKeys([])).toThrow(TypeError);
    expect(() => ticketKeys([{ id: "a b", secret: "s" }])).toThrow(TypeError);
    expect(() => ticketKeys([{ id: "a", secret: "" }])).toThrow(TypeError);
    expect(() =>
      ticketKeys([
        { id: "a", secret: "s" },
        { id: "a", secret: "t" },
      ]),
    ).toThrow(TypeError);
  });
});
