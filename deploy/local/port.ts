import { randomInt } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";

/** Linux's own default, for a kernel that hides the file. */
const EPHEMERAL_FROM = 32_768;
const SPAN = 20_000;
const TRIES = 100;

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });

const given = new Set<number>();

/**
 * A port that nobody listens on and that the kernel gives to no outgoing connection: a server that is restarted must
 * find its port free again, also while a load generator opens thousands of connections.
 */
export const freePort = async (): Promise<number> => {
  const range = await readFile("/proc/sys/net/ipv4/ip_local_port_range", "utf8").catch(() => "");
  const below = Number(range.split(/\s+/)[0]) || EPHEMERAL_FROM;
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const port = randomInt(Math.max(1_024, below - SPAN), below);
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error(`found no free port below ${below} on 127.0.0.1`);
};

/** Starts something on a given port, or on free ones until it starts: another process may take a free port first. */
export const onPort = async <T>(port: number | undefined, start: (port: number) => Promise<T>): Promise<T> => {
  if (port !== undefined) return start(port);
  for (let attempt = 1; ; attempt += 1) {
    const candidate = await freePort();
    try {
      return await start(candidate);
    } catch (error) {
      if (attempt === 3 || (await isFree(candidate))) throw error;
    }
  }
};
