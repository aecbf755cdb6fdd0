import { spawn, type ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import type { GatewayWorld } from "./gateway-world.ts";

/** Compiled: `npm run build` first. */
const MAIN = fileURLToPath(new URL("../../dist/gateway/main.js", import.meta.url));

export const ADMIN_TOKEN = "an-admin-token-for-tests";

/** A port that was free a moment ago. */
const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))));
    });
  });

const started: GatewayProgram[] = [];

/** Ends every gateway of this test file, also those of a test that failed. */
export const endGateways = async (): Promise<void> => {
  await Promise.all(started.splice(0).map((program) => program.end()));
};

/** The gateway as its own process. */
export class GatewayProgram {
  readonly child: ChildProcess;
  readonly port: number;
  readonly adminPort: number;
  readonly metricsPort: number;
  output = "";
  exitCode: number | null | undefined;

  constructor(child: ChildProcess, ports: Pick<GatewayProgram, "port" | "adminPort" | "metricsPort">) {
    this.child = child;
    this.port = ports.port;
    this.adminPort = ports.adminPort;
    this.metricsPort = ports.metricsPort;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (text: Buffer) => {
        this.output += text.toString();
      });
    }
    child.on("exit", (code) => {
      this.exitCode = code;
    });
  }

  /** Runs it with these variables over what the world's stores need. */
  static async start(world: GatewayWorld, variables: Readonly<Record<string, string>> = {}): Promise<GatewayProgram> {
    const port = Number(variables["DOORBUSTER_GATEWAY_PORT"] ?? (await freePort()));
    const adminPort = Number(variables["DOORBUSTER_ADMIN_PORT"] ?? (await freePort()));
    const metricsPort = Number(variables["DOORBUSTER_GATEWAY_METRICS_PORT"] ?? (await freePort()));
    const env = {
      REDIS_SHARDS: world.redis.map(({ url }) => url).join(","),
      NATS_URL: world.nats.url,
      NATS_USER: world.nats.user,
      NATS_PASSWORD: world.nats.pass,
      DOORBUSTER_GATEWAY_HOST: "127.0.0.1",
      DOORBUSTER_GATEWAY_PORT: String(port),
      DOORBUSTER_GATEWAY_PROCESSES: "2",
      DOORBUSTER_ADMIN_PORT: String(adminPort),
      DOORBUSTER_GATEWAY_METRICS_PORT: String(metricsPort),
      DOORBUSTER_ADMIN_TOKEN: ADMIN_TOKEN,
      DOORBUSTER_STOP_NOTICE_MS: "0",
      DOORBUSTER_TICKET_KEYS: "k1:a secret for tests only",
      ...variables,
    };
    const child = spawn(process.execPath, [MAIN], { env, stdio: ["ignore", "pipe", "pipe"] });
    const program = new GatewayProgram(child, { port, adminPort, metricsPort });
    started.push(program);
    return program;
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** pids of its processes */
  async processes(): Promise<readonly number[]> {
    const text = await readFile(`/proc/${this.pid}/task/${this.pid}/children`, "utf8").catch(() => "");
    return text.trim().split(" ").filter(Boolean).map(Number);
  }

  /** of the address for Prometheus and probes */
  page(path: string): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.metricsPort}${path}`, { headers: { connection: "close" } });
  }

  async metrics(): Promise<string> {
    return (await this.page("/metrics")).text();
  }

  admin(path: string, options: { readonly method?: string; readonly body?: unknown; readonly token?: string } = {}): Promise<Response> {
    const { method = "GET", body, token = ADMIN_TOKEN } = options;
    return fetch(`http://127.0.0.1:${this.adminPort}${path}`, {
      method,
      headers: {
        connection: "close",
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
  }

  async end(): Promise<void> {
    if (this.exitCode !== undefined) return;
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
  }
}
