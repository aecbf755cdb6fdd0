import { connect } from "node:net";
import { z } from "zod";

export const bareAnswerSchema = z.strictObject({
  /** `<status> <reason>` and the header lines, joined by CR LF, without what uWebSockets.js adds */
  head: z.string(),
  body: z.string(),
});
export type BareAnswer = Readonly<z.infer<typeof bareAnswerSchema>>;

/** What uWebSockets.js writes by itself. */
const ADDED = /^(content-length|uwebsockets|date):/i;

/** Takes an answer as it came over the wire apart, so that a bare server can send the same bytes. */
export const bareAnswerOf = (text: string): BareAnswer => {
  const headEnd = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...headers] = text.slice(0, headEnd).split("\r\n");
  return {
    head: [statusLine.slice("HTTP/1.1 ".length), ...headers.filter((line) => !ADDED.test(line))].join("\r\n"),
    body: text.slice(headEnd + 4),
  };
};

const ANSWER_WITHIN_MS = 5_000;

/** Sends one request on a connection of its own and returns the whole answer as it came. */
export const rawAnswer = (port: number, request: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: ANSWER_WITHIN_MS });
    let text = "";
    const end = (): void => {
      socket.destroy();
      resolve(text);
    };
    socket.setEncoding("latin1");
    socket.once("connect", () => socket.write(request, "latin1"));
    socket.on("data", (piece: string) => {
      text += piece;
      const headEnd = text.indexOf("\r\n\r\n");
      const length = /^content-length: (\d+)/im.exec(text.slice(0, Math.max(0, headEnd)))?.[1];
      if (headEnd >= 0 && text.length >= headEnd + 4 + Number(length ?? 0)) end();
    });
    socket.once("timeout", () => {
      socket.destroy();
      reject(new Error(`no answer to ${request.split("\r\n")[0]} within ${ANSWER_WITHIN_MS} ms`));
    });
    socket.once("error", reject);
  });

export const statusOf = (answer: string): number => Number(answer.slice(9, 12));
