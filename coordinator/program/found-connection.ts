import { connect as connectTcp, Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { AbstractConnector, type RedisOptions } from "ioredis";
import type { RedisNode } from "./redis-address.ts";
import { serverName } from "./tls.ts";

/** ioredis's own: what is left of a connection that was ended is destroyed after so long. */
const DISCONNECT_WITHIN_MS = 2_000;

/** A stream that failed before it began: ioredis reports it and tries again, where a rejection would end it for good. */
const failedStream = (error: unknown): Socket => new Socket().on("error", () => undefined).destroy(error as Error);

export interface FoundConnectionOptions {
  /** where to connect to, asked at every (re)connection. @throws if nobody knows */
  readonly find: () => Promise<RedisNode>;
  /** undefined: without */
  readonly tls: ConnectionOptions | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
  /** whether a server with this role (`master`, `slave`) is the one that is meant; by default any is */
  readonly isRole?: (role: string | undefined) => boolean;
}

/**
 * Options that make a plain ioredis connection lead to a server that others know of: a cluster's nodes, or sentinels. ioredis's
 * own Cluster sends commands again by itself, which no script of ours may be (DESIGN 4.3).
 */
export const foundConnection = (options: FoundConnectionOptions): Omit<RedisOptions, "replyMapping"> => {
  const { find, tls, username, password, isRole = () => true } = options;

  class FoundConnector extends AbstractConnector {
    constructor() {
      super(DISCONNECT_WITHIN_MS);
    }

    override check(info: { readonly role?: string }): boolean {
      return isRole(info.role);
    }

    async connect(): Promise<Socket> {
      this.connecting = true;
      try {
        const { host, port } = await find();
        if (!this.connecting) return failedStream(new Error("the connection was given up"));
        const stream = tls === undefined ? connectTcp({ host, port }) : connectTls({ ...tls, ...serverName(host), port });
        stream.once("error", (error) => {
          this.firstError = error;
        });
        this.stream = stream;
        return stream;
      } catch (error) {
        this.firstError = error as Error;
        return failedStream(error);
      }
    }
  }

  return {
    Connector: FoundConnector,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls }),
  };
};

/** For a short question to a node or a sentinel: no try again, and silence is an error. */
export const askOptions = (withinMs: number): Omit<RedisOptions, "replyMapping"> => ({
  lazyConnect: true,
  enableReadyCheck: false,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  connectTimeout: withinMs,
  commandTimeout: withinMs,
  retryStrategy: () => null,
});
