import type { Log } from "#program/log";
import { formatOrderId } from "#protocol/order-id";
import { REASON_QUOTA, type Applied } from "./apply/apply.ts";
import type { ApplyObserver } from "./apply/delivery.ts";
import type { LogDelivery } from "./apply/apply-store.ts";
import type { Faults } from "./faults.ts";
import {
  applySeconds,
  ConstraintName,
  constraintViolationsTotal,
  deadLettersTotal,
  logRecordsTotal,
  ordersTotal,
  rejectedTotal,
} from "./metrics.ts";

/** Refused orders of one transaction that have a log line each. */
const NAMED = 20;

const count = (shard: string, applied: Applied): void => {
  logRecordsTotal.inc({ shard, outcome: applied.kind });
  if (applied.kind === "applied") ordersTotal.inc({ shard }, applied.orders);
  if ((applied.kind === "unreadable" || applied.kind === "halted") && applied.first) deadLettersTotal.inc({ shard });
};

/** The constraints that a transaction violated, as metrics call them. */
const violatedConstraints = ({
  refusedNow,
  grantTwice,
  overdrawn,
}: Applied & { readonly kind: "applied" | "repeated" }): readonly ConstraintName[] => [
  ...new Set(refusedNow.map(({ reason }) => (reason === REASON_QUOTA ? ConstraintName.quota : ConstraintName.orderTwice))),
  ...(grantTwice ? [ConstraintName.grantTwice] : []),
  ...(overdrawn ? [ConstraintName.overdrawn] : []),
];

const say = (log: Log, { shard, streamSeq }: LogDelivery, applied: Applied): void => {
  switch (applied.kind) {
    case "applied":
      if (!applied.refusedNow.length && !applied.grantTwice && !applied.overdrawn) return;
      for (const constraint of violatedConstraints(applied)) constraintViolationsTotal.inc({ shard, constraint });
      rejectedTotal.inc({ shard }, applied.refusedNow.length);
      log.error(
        {
          alert: true,
          shard,
          streamSeq,
          epoch: applied.epoch,
          refused: applied.refusedNow.length,
          grantTwice: applied.grantTwice,
          overdrawn: applied.overdrawn,
        },
        "constraint violated: Postgres refused what the shard's log says; the shard is rebuilt from Postgres",
      );
      for (const { seq, index, reason } of applied.refusedNow.slice(0, NAMED))
        log.error({ shard, order: formatOrderId({ shard, epoch: applied.epoch, seq, index }), reason }, "order refused by a constraint");
      return;
    case "gap":
      log.warn(
        { shard, streamSeq, applied: applied.at },
        "entries before this log record are missing: the coordinator is asked to append them again",
      );
      return;
    case "began":
      log.info({ shard, streamSeq, epoch: applied.epoch, mode: applied.mode }, "epoch of the shard began");
      return;
    case "unreadable":
      log.error(
        { alert: true, shard, streamSeq, first: applied.first },
        "a log record cannot be read: it is kept in dead_letters, and the coordinator is asked to append its entries again",
      );
      return;
    case "halted":
      log.error(
        { alert: true, shard, streamSeq, reason: applied.reason },
        "an entry cannot be applied: the shard is halted until an operator has repaired it",
      );
      return;
    case "ignored":
      log.info({ shard, streamSeq }, "log record is of another epoch: ignored");
      return;
    case "repeated":
      log.debug({ shard, streamSeq }, "log record was applied before: skipped");
  }
};

/** Metrics and log of the appliers. */
export const applyObserver = (log: Log, faults: Faults): ApplyObserver => ({
  done: (delivery, applied, durationMs) => {
    const shard = String(delivery.shard);
    applySeconds.observe({ shard }, durationMs / 1_000);
    count(shard, applied);
    say(log, delivery, applied);
  },
  fault: (delivery, error) => faults(`apply of shard ${delivery.shard}`)(error),
});
