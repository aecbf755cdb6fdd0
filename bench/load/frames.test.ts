import { describe, expect, it } from "vitest";
import { clientFrame, FrameReader } from "./frames.ts";

const serverFrame = (text: string): Buffer => {
  const body = Buffer.from(text);
  const head = body.length <= 125 ? [0x81, body.length] : [0x81, 126, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from(head), body]);
};

describe("WebSocket frames", () => {
  it("writes a masked text frame", () => {
    expect([...clientFrame("hi")]).toEqual([0x81, 0x82, 0, 0, 0, 0, 104, 105]);
    expect(() => clientFrame("x".repeat(126))).toThrow(RangeError);
  });

  it("reads short and long frames however they are cut", () => {
    const bytes = Buffer.concat([serverFrame("a"), serverFrame("b".repeat(300)), serverFrame("c".repeat(125))]);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const texts: string[] = [];
      const reader = new FrameReader((text) => texts.push(text));
      reader.read(bytes.subarray(0, cut));
      reader.read(bytes.subarray(cut));
      expect(texts.map((text) => text.length)).toEqual([1, 300, 125]);
    }
  });
});
