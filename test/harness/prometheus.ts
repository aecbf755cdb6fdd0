import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { httpReady, onPort, Part } from "../../deploy/local/index.ts";
import { debianProgram, type FoundProgram } from "./debian-program.ts";
import { joinRun, leaveRun } from "./run.ts";

/** Prometheus's program, installed where that may be done. @returns why there is none, if there is none */
export const findPrometheus = (): Promise<FoundProgram> => debianProgram("prometheus");

/** What is scraped. */
interface ScrapeJob {
  readonly name: string;
  /** URL of a program's metrics without the path */
  readonly url: string;
  /** seconds between two scrapes, and the longest that one may take; 1 if left out */
  readonly everySeconds?: number;
  /** a regular expression: other metrics are dropped */
  readonly keep?: string;
}

export interface PrometheusOptions {
  readonly program: string;
  readonly jobs: readonly ScrapeJob[];
  /** text of a file of rules */
  readonly rules: string;
}

/** One series of an answer; `value` is undefined where it has none now. */
interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A Prometheus server. */
export interface Prometheus {
  readonly url: string;
  /** @throws Error with Prometheus's own words if it does not take the expression */
  query(expression: string): Promise<readonly Series[]>;
  stop(): Promise<void>;
}

const READY_WITHIN_MS = 30_000;
const STOP_WITHIN_MS = 10_000;

const configuration = (jobs: readonly ScrapeJob[]): string =>
  JSON.stringify({
    global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
    rule_files: ["rules.yaml"],
    scrape_configs: jobs.map(({ name, url, everySeconds = 1, keep }) => ({
      job_name: name,
      scrape_interval: `${everySeconds}s`,
      scrape_timeout: `${everySeconds}s`,
      static_configs: [{ targets: [new URL(url).host] }],
      ...(keep === undefined ? {} : { metric_relabel_configs: [{ source_labels: ["__name__"], regex: keep, action: "keep" }] }),
    })),
  });

interface Answer {
  readonly status: "success" | "error";
  readonly error?: string;
  readonly data: { readonly result: readonly { readonly metric: Record<string, string>; readonly value: readonly [number, string] }[] };
}

const asker =
  (url: string): Prometheus["query"] =>
  async (expression) => {
    const answer = await fetch(`${url}/api/v1/query`, { method: "POST", body: new URLSearchParams({ query: expression }) });
    const { status, error, data } = (await answer.json()) as Answer;
    if (status !== "success") throw new Error(`${expression}: ${error}`);
    return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  };

/** Starts one that scrapes every second, on a free port. */
export const startPrometheus = async ({ program, jobs, rules }: PrometheusOptions): Promise<Prometheus> => {
  const run = await joinRun();
  return await onPort(undefined, async (port) => {
    const folder = join(run.folder, `prometheus-${port}`);
    const url = `http://127.0.0.1:${port}`;
    const part = new Part(run, {
      name: `prometheus-${port}`,
      command: program,
      args: [
        `--config.file=${join(folder, "prometheus.json")}`,
        `--storage.tsdb.path=${join(folder, "data")}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      prepare: async () => {
        await mkdir(folder, { recursive: true });
        // JSON is YAML
        await writeFile(join(folder, "prometheus.json"), configuration(jobs));
        await writeFile(join(folder, "rules.yaml"), rules);
      },
      isReady: () => httpReady(`${url}/-/ready`),
      readyWithinMs: READY_WITHIN_MS,
      stopSignal: "SIGTERM",
      stopWithinMs: STOP_WITHIN_MS,
    });
    await part.start();
    return {
      url,
      query: asker(url),
      stop: async () => {
        await part.stop();
        await leaveRun();
      },
    };
  });
};
