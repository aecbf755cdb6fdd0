import { ErrorCode, NatsError, type StreamInfo } from "nats";
import type { SettingProblem } from "#program/setting-problems";
import { BROKER_RULES } from "#program/store-settings/jetstream";
import { judgeSettings } from "#program/store-settings/rule";
import type { Broker } from "./broker.ts";
import { StreamConfigError, verifyStream } from "./stream.ts";

/** Answered where nobody serves JetStream, or the account may not use it. */
const isDisabled = (error: unknown): boolean => error instanceof NatsError && error.code === (ErrorCode.JetStreamNotEnabled as string);
const isDenied = (error: unknown): boolean => error instanceof NatsError && error.code === (ErrorCode.PermissionsViolation as string);

type Stream = { readonly info: StreamInfo } | { readonly error: unknown };

/**
 * What of the broker and of the log's stream is set up wrongly, and was not corrected.
 * @throws if the broker does not answer
 */
export const brokerProblems = async (broker: Broker, maxBytes: number): Promise<readonly SettingProblem[]> => {
  const stream: Stream = await verifyStream(broker.manager, maxBytes).then(
    (info) => ({ info }),
    (error: unknown) => ({ error }),
  );
  const failed = "error" in stream ? stream.error : undefined;
  const ofStream = failed instanceof StreamConfigError ? failed.problems : [];
  if (failed !== undefined && ofStream.length === 0 && !isDisabled(failed) && !isDenied(failed)) throw failed;
  const { info } = broker.connection;
  const replicas = "info" in stream ? stream.info.config.num_replicas : undefined;
  const shown: Readonly<Record<string, string | undefined>> = {
    jetstream: isDisabled(failed) ? `not enabled (${(failed as NatsError).message})` : "enabled",
    max_payload: String(info?.max_payload),
    permissions: broker.denied().join(", "),
    // a server that stands alone has all its streams once
    num_replicas: info?.cluster === undefined ? "" : String(replicas ?? ""),
  };
  return [...judgeSettings(BROKER_RULES, { value: (setting) => shown[setting], hiddenBecause: "" }), ...ofStream];
};
