import Table from "cli-table3";
import type { AuditReport } from "../../workers/index.ts";
import { NO_INNER_LINES, type Palette } from "./color.ts";

const number = (value: number): string => value.toLocaleString("en-US");

/** The sales' balances as a table, one row a sale: total = free + reserved + in flight + sold. */
const salesTable = (report: AuditReport, palette: Palette): string => {
  const alarming = (value: number): string => (value === 0 ? "0" : palette.bad(number(value)));
  const table = new Table({
    head: ["sale", "total", "free", "reserved", "in flight", "sold", "rejected", "duplicates", "orphans"],
    colAligns: ["left", "right", "right", "right", "right", "right", "right", "right", "right"],
    style: palette.table,
    ...(report.sales.length > 3 ? { chars: NO_INNER_LINES } : {}),
  });
  for (const sale of report.sales)
    table.push([
      sale.id,
      ...[sale.total, sale.free, sale.reserved, sale.inFlight, sale.sold].map(number),
      ...[sale.rejected, sale.duplicates, sale.orphans].map(alarming),
    ]);
  return table.toString();
};

/** What `npm run audit` prints. */
export const auditText = (report: AuditReport, palette: Palette): string => {
  const lines = [salesTable(report, palette)];
  for (const shard of report.shards)
    lines.push(palette.quiet(`shard ${shard.shard}: Redis at ${shard.redis}, Postgres at ${shard.applied}, log at ${shard.log ?? "-"}`));
  for (const found of report.differences) {
    const place = [found.saleId, found.shard === null ? null : `shard ${found.shard}`, found.uid].filter((part) => part !== null);
    lines.push(`${palette.bad(found.kind)} ${place.join(" / ")}: ${found.detail}`);
  }
  const findings = report.differences.reduce((total, found) => total + found.count, 0);
  lines.push(
    report.ok
      ? palette.good(
          `ok: ${number(report.sales.length)} sale${report.sales.length === 1 ? "" : "s"}, ${number(report.orders)} orders, every unit is in exactly one place`,
        )
      : palette.bad(`${number(findings)} difference${findings === 1 ? "" : "s"}`),
  );
  return `${lines.join("\n")}\n`;
};
