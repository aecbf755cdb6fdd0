import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  readonly atMs: number;
}

export type Behaviour = (received: Received, response: ServerResponse) => void | Promise<void>;

/** Answers with a status and nothing else. */
export const answer =
  (status: number, body = "", headers: Readonly<Record<string, string>> = {}): Behaviour =>
  (_received, response) => {
    response.writeHead(status, headers).end(body);
  };

/** Answers with the statuses in turn, the last one for ever. */
export const inTurn = (...statuses: readonly number[]): Behaviour => {
  let next = 0;
  return (_received, response) => {
    response.writeHead(statuses[Math.min(next, statuses.length - 1)] as number).end();
    next += 1;
  };
};

/** Somebody's services: remembers every request, answers each path as it is told (200 otherwise). */
export class Services {
  readonly received: Received[] = [];
  readonly #behaviours = new Map<string, Behaviour>();
  readonly #server: Server;
  #url: string;

  private constructor(server: Server) {
    this.#server = server;
    this.#url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => void this.#answer(request, response));
  }

  static async start(): Promise<Services> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Services(server);
  }

  get url(): string {
    return this.#url;
  }

  /** They are called by this address from now on: a proxy's. */
  reachedBy(url: string): void {
    this.#url = url;
  }

  on(path: string, behaviour: Behaviour): string {
    this.#behaviours.set(path, behaviour);
    return this.url + path;
  }

  at(path: string, gid?: string): readonly Received[] {
    return this.received.filter((one) => one.path === path && (gid === undefined || one.query["gid"] === gid));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.url);
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const received: Received = {
      method: request.method ?? "",
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body,
      atMs: performance.now(),
    };
    this.received.push(received);
    await (this.#behaviours.get(url.pathname) ?? answer(200))(received, response);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
