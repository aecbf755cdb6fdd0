import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from "nats";
import { LEAST_PAYLOAD_BYTES } from "#protocol/log-record";
import { LOG_SUBJECTS } from "#protocol/subjects";
import { SettingVerdict } from "#program/setting-problems";
import type { SettingRule } from "./rule.ts";

/** What the broker has to be set to. The rules of the stream itself, each of which is corrected where that can be: STREAM_RULES. */
export const BROKER_RULES: readonly SettingRule[] = [
  {
    setting: "jetstream",
    wanted: "enabled",
    wrong: "not enabled, on the server or for the account",
    isWrong: (found) => found !== "enabled",
    verdict: SettingVerdict.refuse,
    promises: ["P1"],
    breaks: "there is no log: nothing that is sold would come to Postgres",
  },
  {
    setting: "max_payload",
    wanted: `${LEAST_PAYLOAD_BYTES} or more`,
    wrong: "less",
    isWrong: (found) => Number(found) < LEAST_PAYLOAD_BYTES,
    verdict: SettingVerdict.refuse,
    promises: ["P1"],
    breaks: "an entry of 512 purchases does not fit into a message, and nothing that is sold behind it would come to Postgres",
  },
  {
    setting: "permissions",
    wanted: "publish and subscribe on `orders.*`, `doorbuster.>`, `$JS.API.>`, `$KV.sales.>`, `_INBOX.>`",
    wrong: "a denied subject",
    isWrong: (found) => found !== "",
    verdict: SettingVerdict.refuse,
    promises: ["P1"],
    breaks: "what is sold cannot be appended to the log, or nobody hears of it",
  },
  {
    setting: "num_replicas",
    wanted: "3 in a cluster",
    wrong: "`1` in a cluster",
    isWrong: (found) => found === "1",
    verdict: SettingVerdict.warn,
    promises: [],
    breaks: "orders are confirmed only when the one server that has the log is there; nothing is lost",
  },
];

/** A setting of the log's stream: corrected where the broker lets us, and refused where not. */
export interface StreamRule {
  readonly setting: keyof StreamConfig;
  /** undefined: DOORBUSTER_LOG_BYTES; where the broker leaves a setting out it is false */
  readonly wanted: unknown;
  /** the broker takes no value for what is not wanted at all: it is looked at, and not asked for */
  readonly isAskedFor: boolean;
  readonly breaks: string;
}

const asked = (setting: keyof StreamConfig, wanted: unknown, breaks: string): StreamRule => ({ setting, wanted, isAskedFor: true, breaks });
const absent = (setting: keyof StreamConfig, breaks: string): StreamRule => ({ setting, wanted: false, isAskedFor: false, breaks });

/**
 * The stream `orders`. The number of replicas is the operator's choice (made with 1), and the duplicate window does not matter:
 * records carry no id, because an entry appended again must be stored again.
 */
export const STREAM_RULES: readonly StreamRule[] = [
  asked("subjects", [LOG_SUBJECTS], "records do not come into it, or others do"),
  asked("retention", RetentionPolicy.Limits, "records are dropped before they are applied, and appended again"),
  asked("storage", StorageType.File, "every restart of the broker empties the log"),
  asked("discard", DiscardPolicy.New, "a full log drops what is not applied instead of refusing what is new"),
  asked("max_bytes", undefined, "it fills the disk, or is full early"),
  asked("max_msgs", -1, "records are dropped before they are applied, and appended again"),
  asked("max_msgs_per_subject", -1, "records are dropped before they are applied, and appended again"),
  asked("max_age", 0, "a Postgres that is away for longer finds the log without what it has to apply"),
  asked("max_msg_size", -1, "a large record is refused"),
  asked("no_ack", false, "an append is never known to be stored"),
  asked("sealed", false, "nothing can be appended"),
  asked("deny_purge", false, "what is applied cannot be dropped, and the log fills up"),
  absent("mirror", "nothing can be appended"),
  absent("sources", "records of others come between ours"),
  absent("subject_transform", "records come under another subject than their shard's"),
];
