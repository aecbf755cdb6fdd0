import type { NatsConnection } from "nats";
import { decodeLogRecord } from "#protocol/log-record";
import { LOG_STREAM, logSubject } from "#protocol/subjects";
import type { LogPosition } from "./facts.ts";

const carries = (bytes: Uint8Array): string => {
  const record = decodeLogRecord(bytes);
  if (record === undefined) return "unreadable";
  if (record.type === "marker") return `begins ${record.begins}`;
  return `${record.epoch}-${record.entries.at(-1)?.seq ?? 0}`;
};

/** The last record of each shard's subject; a shard without one is left out. */
export const readLog = async (nats: NatsConnection, shards: number): Promise<LogPosition[]> => {
  const manager = await nats.jetstreamManager({ timeout: 2_000 });
  const positions: LogPosition[] = [];
  for (let shard = 0; shard < shards; shard += 1) {
    const message = await manager.streams.getMessage(LOG_STREAM, { last_by_subj: logSubject(shard) }).catch(() => undefined);
    if (message !== undefined) positions.push({ shard, streamSeq: message.seq, carries: carries(message.data) });
  }
  return positions;
};
