import { DiscardPolicy, RetentionPolicy, StorageType, type JetStreamManager, type StreamConfig, type StreamInfo } from "nats";
import { LOG_STREAM, LOG_SUBJECTS } from "#protocol/subjects";
import { isRefusal, jetStreamCode, JetStreamError } from "./errors.ts";

/** The stream is not as it has to be, and cannot be made so by us: an operator has to. */
export class StreamConfigError extends Error {
  override readonly name = "StreamConfigError";
}

/**
 * What the protocol needs of the stream. The number of replicas is the operator's choice (made with 1), and the
 * duplicate window does not matter: records carry no id, because an entry appended again must be stored again.
 */
const wanted = (maxBytes: number): Partial<StreamConfig> => ({
  subjects: [LOG_SUBJECTS],
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.New,
  max_bytes: maxBytes,
  max_msgs: -1,
  max_msgs_per_subject: -1,
  max_age: 0,
  max_msg_size: -1,
  no_ack: false,
  sealed: false,
  deny_purge: false,
});

/** @returns one line for each setting that differs */
const streamDifferences = (config: Partial<StreamConfig>, maxBytes: number): string[] => {
  const differences: string[] = [];
  for (const [name, value] of Object.entries(wanted(maxBytes))) {
    // the broker leaves out what is false
    const found = config[name as keyof StreamConfig] ?? false;
    if (JSON.stringify(found) !== JSON.stringify(value))
      differences.push(`${name} is ${JSON.stringify(found)}, not ${JSON.stringify(value)}`);
  }
  return differences;
};

const addOrUpdate = async (manager: JetStreamManager, found: StreamInfo | undefined, maxBytes: number): Promise<StreamInfo> => {
  try {
    return found === undefined
      ? await manager.streams.add({ name: LOG_STREAM, num_replicas: 1, ...wanted(maxBytes) })
      : await manager.streams.update(LOG_STREAM, wanted(maxBytes));
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const differences = found === undefined ? [] : streamDifferences(found.config, maxBytes);
    throw new StreamConfigError(
      `the broker refuses the stream "${LOG_STREAM}": ${error instanceof Error ? error.message : String(error)}` +
        (differences.length === 0 ? "" : ` (${differences.join("; ")})`),
      { cause: error },
    );
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
  if (differences.length > 0) throw new StreamConfigError(`the stream "${LOG_STREAM}" cannot be made right: ${differences.join("; ")}`);
  return made;
};
