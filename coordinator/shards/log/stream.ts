import type { JetStreamManager, StreamConfig, StreamInfo } from "nats";
import { STREAM_RULES, type StreamRule } from "#program/store-settings/jetstream";
import { SettingVerdict, type SettingProblem } from "#program/setting-problems";
import { LOG_STREAM } from "#protocol/subjects";
import { isRefusal, jetStreamCode, JetStreamError } from "./errors.ts";

/** The stream is not as it has to be, and cannot be made so by us: an operator has to. */
export class StreamConfigError extends Error {
  override readonly name = "StreamConfigError";
  readonly problems: readonly SettingProblem[];

  constructor(message: string, problems: readonly SettingProblem[], options?: ErrorOptions) {
    super(message, options);
    this.problems = problems;
  }
}

const wantedOf = ({ setting, wanted }: StreamRule, maxBytes: number): unknown => (setting === "max_bytes" ? maxBytes : wanted);

const askedFor = (maxBytes: number): Partial<StreamConfig> =>
  Object.fromEntries(STREAM_RULES.filter((rule) => rule.isAskedFor).map((rule) => [rule.setting, wantedOf(rule, maxBytes)]));

const streamDifferences = (config: Partial<StreamConfig>, maxBytes: number): SettingProblem[] =>
  STREAM_RULES.flatMap((rule) => {
    const { setting, breaks } = rule;
    // the broker leaves out what is false
    const found = JSON.stringify(config[setting] ?? false);
    const wanted = JSON.stringify(wantedOf(rule, maxBytes));
    return found === wanted ? [] : [{ setting, found, wanted, verdict: SettingVerdict.refuse, breaks }];
  });

const textOf = (problems: readonly SettingProblem[]): string =>
  problems.map(({ setting, found, wanted }) => `${setting} is ${found}, not ${wanted}`).join("; ");

/** The broker refused a stream of these settings: what differs is why, or else what it says itself (an account's limit, say). */
const refusedBy = (error: unknown, differences: readonly SettingProblem[], maxBytes: number): StreamConfigError => {
  const reason = error instanceof Error ? error.message : String(error);
  const limit: SettingProblem = {
    setting: "max_bytes",
    found: `refused: ${reason}`,
    wanted: String(maxBytes),
    verdict: SettingVerdict.refuse,
    breaks: "there is no log: lower DOORBUSTER_LOG_BYTES, or raise the limits of JetStream and of the account",
  };
  return new StreamConfigError(
    `the broker refuses the stream "${LOG_STREAM}": ${reason}${differences.length === 0 ? "" : ` (${textOf(differences)})`}`,
    differences.length === 0 ? [limit] : differences,
    { cause: error },
  );
};

const addOrUpdate = async (manager: JetStreamManager, found: StreamInfo | undefined, maxBytes: number): Promise<StreamInfo> => {
  try {
    return found === undefined
      ? await manager.streams.add({ name: LOG_STREAM, num_replicas: 1, ...askedFor(maxBytes) })
      : await manager.streams.update(LOG_STREAM, askedFor(maxBytes));
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw refusedBy(error, found === undefined ? [] : streamDifferences(found.config, maxBytes), maxBytes);
  }
};

/**
 * The log's stream, made if it is missing, corrected if it differs. Always compared with what the broker says it has:
 * old brokers drop what they do not know without a word (DESIGN 13).
 * @throws StreamConfigError if it cannot be made right
 */
export const verifyStream = async (manager: JetStreamManager, maxBytes: number): Promise<StreamInfo> => {
  let info: StreamInfo | undefined;
  try {
    info = await manager.streams.info(LOG_STREAM);
  } catch (error) {
    if (jetStreamCode(error) !== JetStreamError.streamNotFound) throw error;
  }
  if (info !== undefined && streamDifferences(info.config, maxBytes).length === 0) return info;
  const made = await addOrUpdate(manager, info, maxBytes);
  const differences = streamDifferences(made.config, maxBytes);
  if (differences.length > 0)
    throw new StreamConfigError(`the stream "${LOG_STREAM}" cannot be made right: ${textOf(differences)}`, differences);
  return made;
};
