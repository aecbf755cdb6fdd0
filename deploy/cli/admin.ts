import type { Command } from "commander";
import { z } from "zod";
import { readConfig } from "#program";
import type { Environment } from "../local/index.ts";
import { readReadyFile } from "./ready-file.ts";

/** Where the admin API of a gateway is. */
export interface AdminAddress {
  readonly url: string;
  readonly token: string;
}

/** How a command ends that was not done. */
export const Exit = {
  /** refused, or asked wrongly: nothing was changed */
  refused: 1,
  /** nobody answered, or a store is away: ask again; a change may have been made, and can be repeated */
  unknown: 3,
} as const;

/** What the admin API answered, readable; `exitCode` is the command's. */
export class AdminRefusal extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.name = "AdminRefusal";
    this.exitCode = exitCode;
  }
}

export interface AddressOptions {
  readonly readyFile?: string;
  readonly admin?: string;
}

/** Both options of every command that talks to the admin API. */
export const withAddress = (command: Command): Command =>
  command
    .option("--ready-file <file>", "written by start or demo; otherwise DOORBUSTER_ADMIN_TOKEN, _HOST and _PORT tell where to ask")
    .option("--admin <url>", "the admin API of a gateway, with DOORBUSTER_ADMIN_TOKEN");

/** @throws ConfigError or Error with a readable text */
export const adminAddress = async (options: AddressOptions, environment: Environment): Promise<AdminAddress> => {
  if (options.readyFile !== undefined) {
    const { admin, adminToken } = await readReadyFile(options.readyFile);
    return { url: admin, token: adminToken };
  }
  const config = readConfig(["DOORBUSTER_ADMIN_TOKEN", "DOORBUSTER_ADMIN_HOST", "DOORBUSTER_ADMIN_PORT"], environment);
  const url = options.admin ?? `http://${config.DOORBUSTER_ADMIN_HOST}:${config.DOORBUSTER_ADMIN_PORT}`;
  if (!URL.canParse(url)) throw new Error(`--admin ${JSON.stringify(url)} is not a URL`);
  return { url: url.replace(/\/$/, ""), token: config.DOORBUSTER_ADMIN_TOKEN[0] as string };
};

const ANSWER_WITHIN_MS = 8_000;

const problemSchema = z.object({ code: z.string(), detail: z.string() });

const refusalOf = (status: number, text: string): AdminRefusal => {
  let detail = text;
  try {
    const problem = problemSchema.parse(JSON.parse(text));
    detail = `${problem.code}: ${problem.detail}`;
  } catch {
    // not from our gateway: what it said is shown as it is
  }
  return new AdminRefusal(detail === "" ? `the admin API answered ${status}` : detail, status >= 500 ? Exit.unknown : Exit.refused);
};

/**
 * Asks the admin API.
 * @throws AdminRefusal
 */
export const askAdmin = async <T extends z.ZodType>(
  { url, token }: AdminAddress,
  request: { readonly method: "GET" | "POST"; readonly path: string; readonly body?: unknown },
  schema: T,
): Promise<z.output<T>> => {
  let status: number;
  let text: string;
  try {
    const response = await fetch(`${url}${request.path}`, {
      method: request.method,
      headers: {
        authorization: `Bearer ${token}`,
        connection: "close",
        ...(request.body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    status = response.status;
    text = await response.text();
  } catch (error) {
    const { cause, message } = error as Error;
    throw new AdminRefusal(`${url} does not answer: ${cause instanceof Error ? cause.message : message}`, Exit.unknown);
  }
  if (status >= 400) throw refusalOf(status, text);
  const parsed = schema.safeParse(JSON.parse(text));
  if (!parsed.success) throw new AdminRefusal(`${url} gave an answer that this program does not understand`, Exit.unknown);
  return parsed.data;
};
