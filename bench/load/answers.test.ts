import { describe, expect, it } from "vitest";
import { AnswerReader } from "./answers.ts";

const answer = (status: number, body: string, length = "Content-Length"): string =>
  `HTTP/1.1 ${status} Some Words\r\nX-Before: a\r\n${length}: ${body.length}\r\nX-After: b\r\n\r\n${body}`;

const read = (pieces: readonly string[]): number[] => {
  const statuses: number[] = [];
  const reader = new AnswerReader((status) => statuses.push(status));
  for (const piece of pieces) reader.read(Buffer.from(piece, "latin1"));
  return statuses;
};

describe("reading answers", () => {
  it("counts each of several in one piece", () => {
    expect(read([answer(409, "{}") + answer(202, "hello") + answer(429, "")])).toEqual([409, 202, 429]);
  });

  it("puts an answer together however it is cut", () => {
    const text = answer(202, "0123456789") + answer(409, "x", "content-length");
    for (let cut = 1; cut < text.length; cut += 1) expect(read([text.slice(0, cut), text.slice(cut)])).toEqual([202, 409]);
    expect(read(text.split(""))).toEqual([202, 409]);
  });

  it("is not fooled by a body that looks like an answer", () => {
    expect(read([answer(202, "HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nabc") + answer(204, "")])).toEqual([202, 204]);
  });

  it("knows the answers that have no body", () => {
    expect(read(["HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n", answer(200, "a")])).toEqual([304, 200]);
  });

  it("tells those apart that ask to come again, if it is asked to", () => {
    const heard: [number, boolean][] = [];
    const pieces = ["HTTP/1.1 409 Conflict\r\nRetry-After: 1\r\nContent-Length: 1\r\n\r\na", answer(409, "Retry-After: 1")];
    for (const looks of [true, false]) {
      const reader = new AnswerReader((status, isAgain) => heard.push([status, isAgain]), looks);
      for (const piece of pieces) reader.read(Buffer.from(piece));
    }
    expect(heard).toEqual([
      [409, true],
      [409, false],
      [409, false],
      [409, false],
    ]);
  });

  it("refuses an answer of unknown length", () => {
    expect(() => read(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])).toThrow(/without a length/);
  });
});
