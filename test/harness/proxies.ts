import { mkdir, readFile, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { httpReady, onPort, Part } from "../../deploy/local/index.ts";
import { debianProgram, type FoundProgram } from "./debian-program.ts";
import { joinRun, leaveRun } from "./run.ts";

export const ProxyKind = { nginx: "nginx", haproxy: "haproxy" } as const;
export type ProxyKind = (typeof ProxyKind)[keyof typeof ProxyKind];

/** The proxy's program, installed where that may be done. @returns why there is none, if there is none */
export const findProxy = (kind: ProxyKind): Promise<FoundProgram> => debianProgram(kind);

/** A proxy of deploy/proxies in front of a gateway. */
export interface Proxy {
  readonly kind: ProxyKind;
  readonly port: number;
  /** of its processes */
  pids(): Promise<readonly number[]>;
  stop(): Promise<void>;
}

export interface ProxyOptions {
  readonly kind: ProxyKind;
  readonly program: string;
  /** of the gateway, on 127.0.0.1 */
  readonly gatewayPort: number;
  /** what else is changed in the file that ships: for a variant that it names */
  readonly change?: (text: string) => string;
}

const FILES = { nginx: "nginx.conf", haproxy: "haproxy.cfg" } as const;
/** nginx's own folders are absolute when it is packaged; here all lie in the run's. */
const NGINX_FOLDERS = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${name};`).join(" ");
const READY_WITHIN_MS = 20_000;
const STOP_WITHIN_MS = 5_000;

/** The file as it ships, with the ports of this run. */
const configuration = async ({ kind, gatewayPort, change = (text) => text }: ProxyOptions, port: number): Promise<string> => {
  const shipped = await readFile(new URL(`../../deploy/proxies/${FILES[kind]}`, import.meta.url), "utf8");
  return change(shipped)
    .replaceAll("127.0.0.1:8080", `127.0.0.1:${gatewayPort}`)
    .replace(/^( *)listen 80;/m, `$1listen 127.0.0.1:${port};`)
    .replace(/^( *)bind :80$/m, `$1bind 127.0.0.1:${port}`)
    .replace(/^http \{$/m, `http {\n  ${NGINX_FOLDERS}`);
};

/** Starts it as it ships, but for its ports; ready when the gateway answers through it. */
export const startProxy = async (options: ProxyOptions): Promise<Proxy> => {
  const { kind, program } = options;
  const run = await joinRun();
  const start = async (port: number): Promise<Proxy> => {
    const folder = join(run.folder, `${kind}-${port}`);
    const file = join(folder, FILES[kind]);
    // One process: it keeps the environment by which the reaper finds what a killed test leaves; a master overwrites it.
    // Root's nginx would give the work to another user, to whom the run's folder is closed.
    const user = userInfo().uid === 0 ? "user root;" : "";
    const part = new Part(run, {
      name: `${kind}-${port}`,
      command: program,
      args:
        kind === ProxyKind.nginx
          ? ["-p", folder, "-c", file, "-e", "stderr", "-g", `daemon off; master_process off; ${user}`]
          : ["-db", "-f", file],
      prepare: async () => {
        await mkdir(folder, { recursive: true });
        await writeFile(file, await configuration(options, port));
      },
      isReady: () => httpReady(`http://127.0.0.1:${port}/readyz`),
      readyWithinMs: READY_WITHIN_MS,
      stopSignal: "SIGTERM",
      stopWithinMs: STOP_WITHIN_MS,
    });
    await part.start();
    return {
      kind,
      port,
      pids: () => part.pids(),
      stop: async () => {
        await part.stop();
        await leaveRun();
      },
    };
  };
  try {
    return await onPort(undefined, start);
  } catch (error) {
    await leaveRun();
    throw error;
  }
};
