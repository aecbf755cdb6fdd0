import { describe, expect, it } from "vitest";
import { beginningOf, storableLine, storableLines } from "./text.ts";

const [line, lines] = [storableLine(), storableLines()];
const takes = (text: string): readonly boolean[] => [line.safeParse(text).success, lines.safeParse(text).success];

describe("a text that is stored", () => {
  it.each(["", "A chair", "限量版 👟", "e\u0301", "a\u200Db", "\uE000", "\u{10FFFF}", "\u2028", "\uFEFFx"])("may be %j", (text) => {
    expect(takes(text)).toEqual([true, true]);
    expect(beginningOf(text, 100)).toBe(text);
  });

  it.each(["a\tb", "a\nb", "a\r\nb"])("may be %j where it may have lines", (text) => {
    expect(takes(text)).toEqual([false, true]);
    expect(beginningOf(text, 100)).toBe(text);
  });

  it.each(["\0", "a\0b", "a\u0007", "\u001B[2J", "\u007F", "\u0085", "\u009F", "\uD83D", "a\uDC00", "\uDC00\uD83D", "\v"])(
    "may not be %j",
    (text) => {
      expect(takes(text)).toEqual([false, false]);
      expect(takes(beginningOf(text, 100))).toEqual([true, true]);
    },
  );

  it("says what is wrong, by its name where it has one", () => {
    expect(line.safeParse("\0").error?.issues[0]?.message).toBe("must have no control characters and no lone surrogates");
    expect(storableLines({ name: "reason", error: "no text" }).safeParse("\0").error?.issues[0]?.message).toMatch(
      /^reason must have no control/,
    );
    expect(storableLine({ name: "reason", error: "no text" }).safeParse(7).error?.issues[0]?.message).toBe("no text");
  });

  it("is looked through at once, however long it is, and cut where a pair would be cut in half", () => {
    const long = "x".repeat(1 << 20);
    expect(takes(long)).toEqual([true, true]);
    expect(takes(`${long}\0`)).toEqual([false, false]);
    expect(beginningOf("ab👟", 3)).toBe("ab\u{FFFD}");
  });
});
