import { connect } from "node:net";

const ANSWER_WITHIN_MS = 1_000;

/** Connects, sends `hello`, and judges the first bytes that come back; every failure means "not ready". */
const firstAnswer = (port: number, hello: Buffer | string, isReady: (answer: Buffer) => boolean): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", timeout: ANSWER_WITHIN_MS });
    const end = (ready: boolean): void => {
      socket.destroy();
      resolve(ready);
    };
    socket.once("connect", () => socket.write(hello));
    socket.once("data", (answer) => end(isReady(answer)));
    socket
      .once("error", () => end(false))
      .once("timeout", () => end(false))
      .once("close", () => end(false));
  });

/** Answers PING with PONG; a server that still loads its file answers `-LOADING`. */
export const redisReady = (port: number): Promise<boolean> =>
  firstAnswer(port, "PING\r\n", (answer) => answer.toString("latin1").startsWith("+PONG"));

/** Greets with its INFO line; the port opens after JetStream has recovered its streams. */
export const natsReady = (port: number, jetstream = true): Promise<boolean> =>
  firstAnswer(port, "", (answer) => (jetstream ? /^INFO .*"jetstream":true/ : /^INFO /).test(answer.toString("latin1")));

/** Asks for authentication (`R`); while it starts or recovers, the answer is an error (`E`, 57P03). */
export const postgresReady = (port: number, user: string): Promise<boolean> => {
  const parameters = Buffer.from(`user\0${user}\0database\0postgres\0\0`, "latin1");
  const head = Buffer.alloc(8);
  head.writeInt32BE(head.length + parameters.length, 0);
  // Protocol version 3.0.
  head.writeInt32BE(196_608, 4);
  return firstAnswer(port, Buffer.concat([head, parameters]), (answer) => answer[0] === 0x52);
};

/** Answers GET with a 2xx status. */
export const httpReady = async (url: string): Promise<boolean> => {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_WITHIN_MS), headers: { connection: "close" } });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
};
