import { readFile } from "node:fs/promises";
import { Agent, request } from "undici";
import type { Stack } from "../../deploy/local/index.ts";

/** The counters that a soak adds up, over all starts of the programs. */
export interface Counters {
  /** times that the coordinator appended entries again, by cause */
  readonly appendedAgain: Readonly<Record<string, number>>;
  /** messages that the workers were given, by what became of them */
  readonly messages: Readonly<Record<string, number>>;
  /** attempts to begin an epoch, by how they ended */
  readonly epochs: Readonly<Record<string, number>>;
  /** rebuilds of a Redis from Postgres, by how they ended */
  readonly restores: Readonly<Record<string, number>>;
  /** times that units were moved between shards, by reason */
  readonly transfers: Readonly<Record<string, number>>;
  /** what the engine's own checks found, by which: any is a broken promise */
  readonly alarms: Readonly<Record<string, number>>;
}

interface Metric {
  readonly group: keyof Counters;
  readonly name: string;
  readonly label: string;
}

const METRICS: readonly Metric[] = [
  { group: "appendedAgain", name: "doorbuster_appended_again_total", label: "cause" },
  { group: "messages", name: "doorbuster_worker_log_records_total", label: "outcome" },
  { group: "epochs", name: "doorbuster_epoch_attempts_total", label: "result" },
  { group: "restores", name: "doorbuster_worker_restores_total", label: "end" },
  { group: "transfers", name: "doorbuster_transfers_total", label: "reason" },
  { group: "alarms", name: "doorbuster_gateway_invariant_violations_total", label: "invariant" },
  { group: "alarms", name: "doorbuster_coordinator_invariant_violations_total", label: "invariant" },
  { group: "alarms", name: "doorbuster_worker_invariant_violations_total", label: "invariant" },
  { group: "alarms", name: "doorbuster_worker_constraint_violations_total", label: "constraint" },
  { group: "alarms", name: "doorbuster_worker_dead_letters_total", label: "shard" },
];

const SCRAPE_WITHIN_MS = 1_000;
const BYTES_A_KB = 1_024;

const connections = new Agent({ connect: { timeout: SCRAPE_WITHIN_MS }, headersTimeout: SCRAPE_WITHIN_MS, bodyTimeout: SCRAPE_WITHIN_MS });

/** A process's share of memory in bytes: pages that several share count as a part of each. */
const memoryOf = async (pid: number): Promise<number> => {
  const shares = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
  const kilobytes = /^Pss:\s+(\d+) kB$/m.exec(shares)?.[1];
  return Number(kilobytes ?? 0) * BYTES_A_KB;
};

/** Memory of each part with all its processes, in bytes; 0 while it does not run. */
export const memoryOfParts = async (stack: Stack): Promise<Record<string, number>> => {
  const memory: Record<string, number> = {};
  for (const part of stack.parts) {
    const pids = await stack.pids(part);
    memory[part] = (await Promise.all(pids.map(memoryOf))).reduce((sum, bytes) => sum + bytes, 0);
  }
  return memory;
};

const scrape = async (url: string): Promise<string> => {
  try {
    const { body } = await request(`${url}/metrics`, { dispatcher: connections });
    return await body.text();
  } catch {
    return "";
  }
};

/** Adds up counters of programs that are killed and begin at zero again; what a process counted after its last scrape is lost. */
export class CounterWatch {
  readonly #pages: readonly string[];
  readonly #latest = new Map<string, number>();
  readonly #totals = new Map<string, number>();

  /** @param pages where programs show their counters */
  constructor(pages: readonly string[]) {
    this.#pages = pages;
  }

  async look(): Promise<void> {
    for (const page of this.#pages) for (const line of (await scrape(page)).split("\n")) this.#take(line);
  }

  counters(): Counters {
    const group = (name: keyof Counters): Record<string, number> => {
      const sums: Record<string, number> = {};
      for (const [key, value] of this.#totals) {
        const [metric, label = ""] = key.split("|");
        if (metric === name) sums[label] = (sums[label] ?? 0) + value;
      }
      return sums;
    };
    return {
      appendedAgain: group("appendedAgain"),
      messages: group("messages"),
      epochs: group("epochs"),
      restores: group("restores"),
      transfers: group("transfers"),
      alarms: group("alarms"),
    };
  }

  #take(line: string): void {
    for (const { group, name, label } of METRICS) {
      if (!line.startsWith(`${name}{`)) continue;
      const labelled = new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1] ?? "";
      const value = Number(line.slice(line.lastIndexOf(" ") + 1));
      const before = this.#latest.get(line.slice(0, line.lastIndexOf(" "))) ?? 0;
      this.#latest.set(line.slice(0, line.lastIndexOf(" ")), value);
      const key = `${group}|${label === "shard" ? "dead_letters" : labelled}`;
      // Less than before: a process died, and the others' share was counted already.
      this.#totals.set(key, (this.#totals.get(key) ?? 0) + Math.max(0, value - before));
    }
  }
}
