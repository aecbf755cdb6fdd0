import { until } from "../index.ts";

export interface ApiReply {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** The HTTP API as dtm's clients use it: no client of ours in between. */
export class Api {
  readonly url: string;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(url: string, headers: Readonly<Record<string, string>> = {}) {
    this.url = `${url}/api/dtmsvr`;
    this.#headers = headers;
  }

  async get(path: string): Promise<ApiReply> {
    const response = await fetch(this.url + path, { headers: this.#headers });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  async post(path: string, body: unknown): Promise<ApiReply> {
    const response = await fetch(this.url + path, {
      method: "POST",
      headers: { "content-type": "application/json", ...this.#headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  async delete(path: string): Promise<ApiReply> {
    const response = await fetch(this.url + path, { method: "DELETE", headers: this.#headers });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  async transaction(gid: string): Promise<Record<string, unknown> | null> {
    return (await this.get(`/query?gid=${encodeURIComponent(gid)}`)).body["transaction"] as Record<string, unknown> | null;
  }

  async status(gid: string): Promise<string> {
    return ((await this.transaction(gid))?.["status"] as string | undefined) ?? "none";
  }

  until(gid: string, status: string, boundMs = 10_000): Promise<void> {
    return until(async () => (await this.status(gid)) === status, `message ${gid} to be ${status}`, boundMs);
  }
}

let gids = 0;
export const newGid = (name: string): string => {
  gids += 1;
  return `${name}-${process.pid}-${gids}`;
};

/** A body as dtm's clients send it. */
export const message = (
  gid: string,
  steps: readonly (readonly [url: string, payload: string])[],
  more: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> => ({
  gid,
  trans_type: "msg",
  steps: steps.map(([action]) => ({ action })),
  payloads: steps.map(([, payload]) => payload),
  protocol: "",
  concurrent: false,
  ...more,
});
