import { listen, type Listener, type TemplatedApp } from "./app.ts";
import { descriptorLimit, isOneLeft, SpareDescriptors } from "./descriptors.ts";

/** Descriptors kept for connections to Redis and NATS that have to be made anew while the process is full. */
const SPARE = 64;
/** How often it is looked whether the process is full: until then uWebSockets.js spins on a connection that it cannot accept. */
const LOOK_MS = 100;
/** ... and, while it is full, whether there is room again. */
const LOOK_AGAIN_MS = 1_000;
/** Room for so many connections, of a tenth of the limit at most, is asked for before any is accepted again. */
const ROOM = 256;

export interface DoorOptions {
  readonly app: TemplatedApp;
  readonly host: string;
  /** 0: any */
  readonly port: number;
  /** called when it stops accepting, with the limit if it is known */
  readonly onFull?: (limit: number | undefined) => void;
  /** called when it accepts again */
  readonly onRoom?: () => void;
}

/**
 * A listening port that stops listening before the process has no file descriptor left, and listens again when clients have
 * left. What is connected is served all the time; who comes meanwhile is accepted by another process on the port or refused by
 * the system at once. Without it uWebSockets.js asks for the same connection again and again on a full core, and a lost
 * connection to Redis could not be made anew.
 */
export class Door {
  readonly port: number;
  readonly #options: DoorOptions;
  readonly #spare = new SpareDescriptors();
  #listener: Listener | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #timesFull = 0;

  private constructor(options: DoorOptions, listener: Listener) {
    this.#options = options;
    this.#listener = listener;
    this.port = listener.port;
    this.#spare.take(SPARE, 0);
    this.#lookLater();
  }

  /** @throws Error if the port cannot be listened on */
  static async open(options: DoorOptions): Promise<Door> {
    return new Door(options, await listen(options.app, options.host, options.port));
  }

  /** Connections are accepted at the moment. */
  get isAccepting(): boolean {
    return this.#listener !== undefined;
  }

  /** how often it stopped accepting for want of descriptors */
  get timesFull(): number {
    return this.#timesFull;
  }

  /** Stops accepting for good; open connections are left alone. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#stopListening();
    this.#spare.release();
  }

  #stopListening(): void {
    this.#listener?.close();
    this.#listener = undefined;
  }

  #lookLater(): void {
    this.#timer = setTimeout(() => void this.#look(), this.isAccepting ? LOOK_MS : LOOK_AGAIN_MS);
  }

  async #look(): Promise<void> {
    if (this.isAccepting) this.#closeIfFull();
    else await this.#openIfRoom();
    if (!this.#isClosed) this.#lookLater();
  }

  #closeIfFull(): void {
    if (isOneLeft()) return;
    this.#stopListening();
    this.#spare.release();
    this.#timesFull += 1;
    this.#options.onFull?.(descriptorLimit());
  }

  async #openIfRoom(): Promise<void> {
    if (!this.#spare.take(SPARE, Math.min(ROOM, (descriptorLimit() ?? Infinity) / 10))) return;
    // Somebody else may have taken the port meanwhile: it is tried again.
    const listener = await listen(this.#options.app, this.#options.host, this.port).catch(() => undefined);
    if (listener === undefined) return;
    if (this.#isClosed) {
      listener.close();
      return;
    }
    this.#listener = listener;
    this.#options.onRoom?.();
  }
}
