import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** What a proxy does with the bytes of both directions. */
export type Trouble =
  /** as if it were not there */
  | { readonly kind: "pass" }
  /** every piece arrives so much later, in order */
  | { readonly kind: "delay"; readonly ms: number }
  /** so many bytes at a time, with a pause behind each */
  | { readonly kind: "drip"; readonly bytes: number; readonly everyMs: number }
  /** nothing arrives until the trouble ends, then everything does: a route that is away for a while */
  | { readonly kind: "hold" }
  /** as hold, for what the server answers: requests arrive */
  | { readonly kind: "holdAnswers" }
  /** what is sent disappears, both ends believe that they are connected; such connections are cut when the trouble ends */
  | { readonly kind: "blackHole" }
  /** as blackHole, but the server has been told that its clients are gone */
  | { readonly kind: "halfOpen" }
  /** every connection is reset, and so is every new one */
  | { readonly kind: "refuse" };

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  /** bytes of it were thrown away: it can never be whole again */
  isSpoilt: boolean;
  /** its next answer is thrown away */
  losesAnswer: boolean;
}

/** How a client learns that the answer is lost: its connection is reset, or nothing comes any more. */
export type AnswerLoss = "cut" | "silent";

interface Loss {
  readonly request: (bytes: Buffer) => boolean;
  readonly how: AnswerLoss;
  readonly done: (happened: boolean) => void;
}

const PASS: Trouble = { kind: "pass" };

const write = async (to: Socket, bytes: Uint8Array): Promise<void> => {
  if (to.destroyed || to.write(bytes)) return;
  await new Promise<void>((resolve) => void to.once("drain", resolve).once("close", () => resolve()));
};

/** A TCP proxy in front of one server, that makes trouble between it and its clients. */
export class FaultProxy {
  readonly port: number;
  readonly #server: Server;
  #target: number;
  readonly #links = new Set<Link>();
  #trouble: Trouble = PASS;
  #changed: Promise<void> = Promise.resolve();
  #change: () => void = () => undefined;
  #loss: Loss | undefined;

  constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as AddressInfo).port;
    this.#renew();
    server.on("connection", (client) => this.#accept(client));
  }

  /** @param target port of the server, on this machine */
  static open(target: number): Promise<FaultProxy> {
    const server = createServer({ noDelay: true, allowHalfOpen: true });
    return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(new FaultProxy(server, target))));
  }

  /** connections that are open now */
  get connections(): number {
    return this.#links.size;
  }

  /** The URL of something on the server, through this proxy. */
  through(url: string): string {
    const changed = new URL(url);
    changed.hostname = "127.0.0.1";
    changed.port = String(this.port);
    return changed.href;
  }

  /** From now on, until it is called again; `{ kind: "pass" }` ends all trouble. */
  set(trouble: Trouble): void {
    const { kind } = trouble;
    if (kind === "pass") this.#endLoss(false);
    this.#trouble = trouble;
    for (const link of this.#links) {
      if (kind === "blackHole" || kind === "halfOpen") link.isSpoilt = true;
      if (kind === "halfOpen") link.server.resetAndDestroy();
      else if (kind === "refuse" || (link.isSpoilt && kind !== "blackHole")) this.#cut(link);
    }
    this.#change();
    this.#renew();
  }

  /** Leads to another server from now on: an address that moves to the promoted replica. */
  lead(target: number): void {
    this.#target = target;
    this.cut();
  }

  /** Resets every connection; new ones pass. */
  cut(): void {
    for (const link of this.#links) this.#cut(link);
  }

  /**
   * The next request of that kind is executed and its answer is lost, with the connection or, if `silent`, with all that
   * comes on it until the next change of the trouble, which cuts it.
   * @returns true when it has happened, false when the trouble was ended before
   */
  loseAnswer(request: (bytes: Buffer) => boolean, how: AnswerLoss = "cut"): Promise<boolean> {
    this.#endLoss(false);
    return new Promise((done) => {
      this.#loss = { request, how, done };
    });
  }

  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => void this.#server.close(() => resolve()));
    this.set({ kind: "refuse" });
    return closed;
  }

  #endLoss(happened: boolean): void {
    this.#loss?.done(happened);
    this.#loss = undefined;
  }

  #renew(): void {
    this.#changed = new Promise((resolve) => {
      this.#change = resolve;
    });
  }

  #accept(client: Socket): void {
    const { kind } = this.#trouble;
    client.on("error", () => undefined);
    if (kind === "refuse") {
      client.resetAndDestroy();
      return;
    }
    const server = connect({ port: this.#target, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    server.on("error", () => undefined);
    const link: Link = { client, server, isSpoilt: kind === "blackHole" || kind === "halfOpen", losesAnswer: false };
    this.#links.add(link);
    if (kind === "halfOpen") server.resetAndDestroy();
    const ended = (): void => {
      // a half-open client is not told
      if (link.isSpoilt && this.#trouble.kind === "halfOpen") return;
      this.#cut(link);
    };
    client.once("close", () => this.#cut(link));
    server.once("close", ended);
    void this.#pump(link, client, server, "up");
    void this.#pump(link, server, client, "down");
  }

  #cut(link: Link): void {
    this.#links.delete(link);
    link.client.resetAndDestroy();
    link.server.resetAndDestroy();
  }

  async #pump(link: Link, from: Socket, to: Socket, direction: "up" | "down"): Promise<void> {
    try {
      for await (const bytes of from) await this.#carry(link, bytes as Buffer, to, direction);
      to.end();
    } catch {
      // a reset: `close` follows and ends the other side
    }
  }

  async #carry(link: Link, bytes: Buffer, to: Socket, direction: "up" | "down"): Promise<void> {
    if (direction === "down" && link.losesAnswer) {
      if (this.#loss?.how === "silent") link.isSpoilt = true;
      else this.#cut(link);
      link.losesAnswer = false;
      this.#endLoss(true);
      return;
    }
    const isHeld = (): boolean => this.#trouble.kind === "hold" || (this.#trouble.kind === "holdAnswers" && direction === "down");
    while (isHeld() && !link.isSpoilt) await this.#changed;
    if (link.isSpoilt) return;
    if (direction === "up" && this.#loss?.request(bytes) === true) link.losesAnswer = true;
    const trouble = this.#trouble;
    if (trouble.kind === "delay") await delay(trouble.ms);
    if (trouble.kind !== "drip") return write(to, bytes);
    for (let at = 0; at < bytes.length && !to.destroyed; at += trouble.bytes) {
      await write(to, bytes.subarray(at, at + trouble.bytes));
      // the rest of what is long comes at once when the trouble has ended
      if (this.#trouble.kind === "drip") await delay(trouble.everyMs);
    }
  }
}
