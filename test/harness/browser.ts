import { createServer, type Server } from "node:http";
import { connect, createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from "node:net";
import { chromium, type Browser, type Page } from "playwright-core";
import { debianProgram } from "./debian-program.ts";

/**
 * A headless Chromium, the system's own. One for a test file: each page has a profile of its own. `close` ends it.
 * @param what is tested with it, for the line that says that it is skipped
 * @returns undefined where there is none and it cannot be installed
 */
export const startBrowser = async (what: string): Promise<Browser | undefined> => {
  const found = await debianProgram("chromium", "chromium-browser", "google-chrome");
  if ("program" in found) return chromium.launch({ executablePath: found.program });
  process.stderr.write(`SKIPPED ${what}, in Chromium: ${found.why}\n`);
  return undefined;
};

const listening = async (server: Server | TcpServer): Promise<number> => {
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
};

/** An empty page under an origin of its own, for scripts to run in. */
export class PageSite {
  readonly port: number;
  readonly #server: Server;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async start(): Promise<PageSite> {
    const server = createServer(
      (_, response) => void response.setHeader("Content-Type", "text/html").end("<!doctype html><title>page</title>"),
    );
    return new PageSite(server, await listening(server));
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async open(browser: Browser, origin = this.origin): Promise<Page> {
    const page = await browser.newPage();
    await page.goto(origin);
    return page;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => void this.#server.close(resolve));
  }
}

/** Stands in front of a server, hands all bytes on, and keeps the methods that were asked. */
export class MethodTap {
  readonly port: number;
  /** `METHOD /first/part` of each request line, in order */
  readonly asked: string[] = [];
  readonly #server: TcpServer;

  private constructor(server: TcpServer, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async start(targetPort: number): Promise<MethodTap> {
    const server = createTcpServer();
    const tap = new MethodTap(server, await listening(server));
    server.on("connection", (client) => {
      const target = connect(targetPort, "127.0.0.1");
      client.on("data", (bytes) => {
        for (const [, method, place] of bytes.toString("latin1").matchAll(/^([A-Z]+) (\/[^/?\s]*)\S* HTTP\/1\.1\r$/gm))
          tap.asked.push(`${method} ${place}`);
      });
      client.pipe(target).pipe(client);
      for (const socket of [client, target]) socket.on("error", () => void [client, target].map((each) => each.destroy()));
    });
    return tap;
  }

  stop(): Promise<void> {
    return new Promise((resolve) => void this.#server.close(() => resolve()));
  }
}
