import { describe, expect, it } from "vitest";
import { ProgramName } from "../../deploy/local/index.ts";
import { allFamilies, nodeFamilies, type MetricFamily } from "../harness/metric-registries.ts";

const TITLES: Readonly<Record<ProgramName, string>> = {
  gateway: "Gateway: `DOORBUSTER_GATEWAY_METRICS_HOST`:`_PORT`, 127.0.0.1:8083",
  coordinator: "Coordinator: `DOORBUSTER_COORDINATOR_METRICS_HOST`:`_PORT`, 127.0.0.1:36790",
  workers: "Workers: `DOORBUSTER_WORKERS_HOST`:`_PORT`, 127.0.0.1:8082",
};

const HEAD = `# Metrics

Every program serves Prometheus's text format at \`/metrics\`, without a credential, on an address of its
own that is never public. Gateway and workers are several processes: their primary adds their numbers up,
and says by \`..._scrape_complete\` whether all of them answered. A label \`shard\` is a shard's number.

Dashboards and alert rules over these: [observability/](observability/README.md). This page is written
from the programs' registries by \`npm run metrics-page\`; a test compares it with them, and another with
what running programs show.
`;

const by = (a: MetricFamily, b: MetricFamily): number => (a.name < b.name ? -1 : 1);
const sentence = (help: string): string => `${help.charAt(0).toUpperCase()}${help.slice(1)}`.replace(/\.?$/, ".").replaceAll("|", "\\|");
const WIDTH = 104;
/** One item of a list, in lines of that width. */
const item = (text: string): string => {
  const lines = ["-"];
  for (const word of text.split(" ")) {
    const line = lines.at(-1) as string;
    if (line.length + 1 + word.length > WIDTH) lines.push(`  ${word}`);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.join("\n");
};
const row = ({ name, type, labels, help }: MetricFamily): string =>
  item(
    `**\`${name}\`** (${type}${labels.length === 0 ? "" : `, by ${labels.map((label) => `\`${label}\``).join(", ")}`}): ${sentence(help)}`,
  );
const section = (title: string, families: readonly MetricFamily[]): string =>
  `## ${title}\n\n${[...families].sort(by).map(row).join("\n")}\n`;

const page = async (): Promise<string> => {
  const families = await allFamilies();
  const programs = Object.values(ProgramName).map((program) => section(TITLES[program], families[program]));
  const node = section("Node.js: of the gateway's processes, by prom-client", nodeFamilies());
  return [HEAD, ...programs, node].join("\n");
};

describe("deploy/METRICS.md", () => {
  it("has every metric of every program and no other (npm run metrics-page writes it)", async () => {
    await expect(await page()).toMatchFileSnapshot("../../deploy/METRICS.md");
  });

  it("has names by Prometheus's rules, each with a description", async () => {
    for (const [program, families] of Object.entries(await allFamilies())) {
      expect(new Set(families.map(({ name }) => name)).size, program).toBe(families.length);
      for (const { name, type, help } of families) {
        expect(name).toMatch(/^doorbuster_[a-z_]+$/);
        expect(name.endsWith("_total"), name).toBe(type === "counter");
        expect(help.length, name).toBeGreaterThan(10);
      }
    }
  });
});
