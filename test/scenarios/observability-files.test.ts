import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { allFamilies, nodeFamilies } from "../harness/metric-registries.ts";
import { findPrometheus } from "../harness/prometheus.ts";

const DEPLOY = new URL("../../deploy/", import.meta.url);
const RULES = new URL("observability/rules.yaml", DEPLOY);
const found = await findPrometheus();
if ("why" in found) console.warn(`skipped: no Prometheus: ${found.why}`);

/** The same rules as a resource of the Prometheus operator. */
const asResource = (rules: string): string => {
  const groups = rules.slice(rules.indexOf("groups:"));
  const head = `# Written from rules.yaml beside it by \`npm run metrics-page\`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: doorbuster
  labels:
    app.kubernetes.io/name: doorbuster
spec:
`;
  return head + groups.replaceAll(/^(?=.)/gm, "  ");
};

interface Panel {
  readonly title: string;
  readonly description?: string;
  readonly targets: readonly { readonly expr: string }[];
}

const expressions = async (): Promise<readonly (readonly [string, string])[]> => {
  const folder = new URL("observability/dashboards/", DEPLOY);
  const named: [string, string][] = [...(await readFile(RULES, "utf8")).matchAll(/alert: (\w+)\n\s+expr: (.*)$/gm)].map(
    ([, alert = "", expr = ""]) => [alert, expr],
  );
  for (const file of await readdir(folder)) {
    const { panels } = JSON.parse(await readFile(new URL(file, folder), "utf8")) as { readonly panels: readonly Panel[] };
    for (const { title, description, targets } of panels) {
      expect(description, `${file}: ${title}`).toBeTruthy();
      for (const { expr } of targets) named.push([`${file}: ${title}`, expr]);
    }
  }
  return named;
};

describe("deploy/observability", () => {
  it("asks only for metrics that a program has", async () => {
    const families = [...Object.values(await allFamilies()).flat(), ...nodeFamilies()];
    const names = new Set(
      families.flatMap(({ name, type }) => (type === "histogram" ? ["_bucket", "_sum", "_count"].map((part) => name + part) : [name])),
    );
    for (const [where, expr] of await expressions())
      for (const [name] of expr.matchAll(/\b(?:doorbuster|nodejs|process)_\w+/g)) {
        expect(names.has(name), `${where}: ${name}`).toBe(true);
      }
  });

  it("has for each alert a severity, a summary and a paragraph of the runbook", async () => {
    const rules = await readFile(RULES, "utf8");
    const runbook = await readFile(new URL("RUNBOOK.md", DEPLOY), "utf8").catch(() => undefined);
    const alerts = rules.split("- alert: ").slice(1);
    for (const text of alerts) {
      const name = /^\w+/.exec(text)?.[0] ?? "";
      expect(text, name).toMatch(/severity: (critical|warning|info)/);
      expect(text, name).toMatch(/summary: ".+"/);
      expect(text, name).toContain(`runbook_url: deploy/RUNBOOK.md#${name.toLowerCase()}\n`);
      if (runbook !== undefined) expect(runbook, name).toMatch(new RegExp(`^### ${name}$`, "m"));
    }
    expect(alerts.length).toBeGreaterThan(20);
  });

  it("has the rules as a PrometheusRule, too", async () => {
    await expect(asResource(await readFile(RULES, "utf8"))).toMatchFileSnapshot("../../deploy/observability/prometheus-rule.yaml");
  });

  it.skipIf("why" in found)("has rules that promtool takes", async () => {
    const promtool = async (...args: readonly string[]): Promise<string> => (await promisify(execFile)("promtool", args)).stdout;
    expect(await promtool("check", "rules", fileURLToPath(RULES))).toMatch(/SUCCESS: \d+ rules found/);
    // with the durations that they ship with
    await promtool("test", "rules", fileURLToPath(new URL("rules-test.yaml", RULES)));
  });
});
