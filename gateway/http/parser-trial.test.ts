import { createServer, type AddressInfo, type Server } from "node:net";
import { afterEach, expect, it } from "vitest";
import { askInParts, PartsVerdict, tryParser } from "./parser-trial.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Gives each connection's whole text to `answer` whenever more of it came. */
const serverOf = async (answer: (text: string) => string | undefined): Promise<number> => {
  const server = createServer((socket) => {
    let text = "";
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      text += bytes.toString("latin1");
      const answered = answer(text);
      if (answered !== undefined) socket.end(answered);
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
};
const whole = (text: string): boolean => text.endsWith("\r\n\r\n");

it("tells a server that waits for the rest of a request line from one that does not", async () => {
  expect(await askInParts(await serverOf((text) => (whole(text) ? "HTTP/1.1 200 OK\r\n\r\n" : undefined)))).toBe(PartsVerdict.answered);
  expect(await askInParts(await serverOf(() => "HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n"))).toBe(PartsVerdict.refused);
  const onlyInMethod = (text: string): string | undefined =>
    whole(text) ? "HTTP/1.1 200 OK\r\n\r\n" : text === "GE" ? "HTTP/1.1 400 Bad Request\r\n\r\n" : undefined;
  expect(await askInParts(await serverOf(onlyInMethod))).toBe(PartsVerdict.refused);
});

it("does not know of one that hangs up, or is not there", async () => {
  expect(await askInParts(await serverOf(() => ""))).toBe(PartsVerdict.unknown);
  const port = await serverOf(() => undefined);
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
  expect(await askInParts(port)).toBe(PartsVerdict.unknown);
});

it("finds the binary for Node 20 wanting, and those for later ones not", async () => {
  const isOld = Number(process.versions.node.split(".")[0]) < 22;
  expect(await tryParser()).toBe(isOld ? PartsVerdict.refused : PartsVerdict.answered);
});
