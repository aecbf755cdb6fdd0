const WARN = 40;
const SHOWN = 300;

interface Line {
  readonly level?: unknown;
  readonly msg?: unknown;
  readonly err?: unknown;
  readonly reason?: unknown;
}

const parsed = (line: string): Line | undefined => {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
};

const causeOf = (err: unknown): string => {
  if (typeof err === "string") return err;
  const { message, aggregateErrors } = (err ?? {}) as { readonly message?: string; readonly aggregateErrors?: readonly unknown[] };
  if (message !== undefined && message !== "") return message;
  return (aggregateErrors ?? []).map((each) => causeOf(each)).join(", ");
};

/** Something failed; a warning without a cause is advice. */
const isFailure = (line: Line | undefined): boolean =>
  typeof line?.level === "number" && line.level >= WARN && (line.err !== undefined || line.reason !== undefined);

/**
 * What a log last complained of: of our programs (pino's lines) the last failure, of a server its last line.
 * @returns an empty string if it says nothing
 */
export const logReason = (text: string): string => {
  const lines = text.trimEnd().split("\n").slice(-200);
  const complaint = lines.map((line) => parsed(line)).findLast((line) => isFailure(line));
  if (complaint === undefined) return parsed(lines.at(-1) ?? "") === undefined ? (lines.at(-1) ?? "").slice(0, SHOWN) : "";
  return [String(complaint.msg), causeOf(complaint.err)]
    .filter((part) => part !== "")
    .join(": ")
    .slice(0, SHOWN);
};
