import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Part } from "./part.ts";
import { onPort } from "./port.ts";
import { natsReady } from "./probe.ts";
import type { Run } from "./run.ts";

export interface NatsOptions {
  /** path of nats-server */
  readonly program: string;
  readonly dir?: string;
  readonly port?: number;
  /** further lines of its configuration file, asked for at each start */
  readonly settings?: (() => readonly string[]) | undefined;
  /** false for tests: a broker without JetStream */
  readonly jetstream?: boolean | undefined;
  /** subjects that its user may not publish to: for tests */
  readonly denied?: readonly string[] | undefined;
}

export interface NatsPart {
  readonly part: Part;
  readonly url: string;
  readonly user: string;
  readonly pass: string;
  readonly port: number;
  readonly dir: string;
}

const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 10_000;
const USER = "doorbuster";

/** Debian 12's server is 2.9.10: no `sync_interval`, and a setting that it does not know is dropped in silence. */
const settingsText = ({ settings, jetstream = true, denied = [] }: NatsOptions, port: number, pass: string, dir: string): string =>
  [
    `listen: "127.0.0.1:${port}"`,
    `server_name: "doorbuster-${port}"`,
    // Fixed, because the default is three quarters of the free disk: on a small one no stream could reserve its bound.
    ...(jetstream ? [`jetstream { store_dir: ${JSON.stringify(dir)}, max_memory_store: 256MB, max_file_store: 8GB }`] : []),
    `authorization { users: [ { user: "${USER}", password: "${pass}"${denied.length === 0 ? "" : `, permissions: { publish: { deny: ${JSON.stringify(denied)} } }`} } ] }`,
    ...(settings?.() ?? []),
    "",
  ].join("\n");

const natsPart = (run: Run, options: NatsOptions, port: number): NatsPart => {
  const dir = options.dir ?? join(run.folder, `nats-${port}`);
  const pass = randomBytes(18).toString("hex");
  // Beside the folder, so that a folder that was taken away is made anew with the same credentials; not in the
  // command line, which every user of the machine can read.
  const settings = `${dir}.conf`;
  const part = new Part(run, {
    name: "nats",
    command: options.program,
    args: ["--config", settings],
    prepare: async () => {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      await writeFile(settings, settingsText(options, port, pass, dir), { mode: 0o600 });
    },
    isReady: () => natsReady(port, options.jetstream ?? true),
    readyWithinMs: READY_WITHIN_MS,
    stopSignal: "SIGTERM",
    stopWithinMs: STOP_WITHIN_MS,
  });
  return { part, url: `nats://127.0.0.1:${port}`, user: USER, pass, port, dir };
};

/** Starts a NATS server with JetStream and credentials, and waits until it takes connections. */
export const startNats = (run: Run, options: NatsOptions): Promise<NatsPart> =>
  onPort(options.port, async (port) => {
    const nats = natsPart(run, options, port);
    await nats.part.start();
    return nats;
  });
