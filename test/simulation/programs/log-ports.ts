import type { ShardLog } from "../../../coordinator/shards/relay/relay-ports.ts";
import type { Deliveries, Delivery } from "../../../workers/apply/delivery.ts";
import type { Life } from "../kernel/process.ts";
import { op, Refused, Wire } from "../kernel/wire.ts";
import type { Consumer, HandedOut } from "../log/broker.ts";
import type { World } from "../world.ts";

const REQUEST_MS = 2_000;
const PULL_MS = 1_000;
const REDISCOVER_MS = 5_000;
/** Shares of the log's bytes: a schedule's messages are about 120 bytes. */
const PURGE_AT_BYTES = 1_500;

const APPEND = op("log append entries");
const MARK = op("log append marker");
const LAST = op("log last entry");
const VERIFY = op("log verify");
const CONSUMER = op("log make consumer");
const PURGE = op("log purge");
const DISCOVER = op("log find consumer");
const PULL = op("log pull");
const ACK = op("log ack");
const WORKING = op("log working");
const AGAIN = op("log again");

/** A coordinator's log of one shard. */
export const shardLogOf = (world: World, life: Life, shard: number): ShardLog => {
  const { broker } = world;
  const wire = new Wire(life, world, () => broker, REQUEST_MS);
  const brokerId = (): string => (wire.isUp ? broker.id : "");
  return {
    purgeAtBytes: PURGE_AT_BYTES,
    brokerId,
    payloadBytes: () => Number.POSITIVE_INFINITY,
    append: (message) =>
      wire.call(message.type === "marker" ? MARK : APPEND, () => {
        const answer = broker.append(message);
        world.say(() =>
          message.type === "marker"
            ? `${life.process.name} marker ${message.begins} from ${message.from}, redis ${message.redisEpoch} upto ${message.upto} by ${message.attempt}`
            : `${life.process.name} append ${message.epoch}: ${message.entries.map((entry) => entry.seq).join(",")} (${answer.status})`,
        );
        if (world.kernel.draw.chance(world.weather.repeated)) {
          world.count("message repeated");
          broker.append(message);
        }
        return answer;
      }),
    lastEntry: (epoch) => wire.call(LAST, () => broker.lastEntry(shard, epoch)),
    verify: async () => {
      const id = brokerId();
      if (id === "") throw new Refused("not connected to the broker");
      const sound = await wire.call(VERIFY, () => {
        const consumer = broker.sound(shard);
        return consumer === undefined ? undefined : broker.health(consumer);
      });
      const health =
        sound ??
        (await wire.call(CONSUMER, () => {
          const consumer = broker.makeConsumer(shard, life.random.nonce());
          broker.deleteOthers(consumer);
          world.say(() => `${life.process.name} consumer anew for shard ${shard}`);
          return broker.health(consumer);
        }));
      if (brokerId() !== id) throw new Refused("the broker restarted while the log was looked at");
      return health;
    },
    purge: (before) => wire.call(PURGE, () => broker.purge(shard, before)),
  };
};

/** A worker's way to a shard's messages, one at a time. */
export const deliveriesOf = (world: World, life: Life, shard: number): Deliveries => {
  const { broker } = world;
  const wire = new Wire(life, world, () => broker, PULL_MS + 500);
  let known: Consumer | undefined;
  let foundAtMs = 0;

  const deliveryOf = ({ consumer, stored }: HandedOut): Delivery => ({
    shard,
    streamSeq: stored.streamSeq,
    body: stored.body,
    ack: () => wire.post(ACK, () => broker.ack(consumer, stored.streamSeq)),
    working: () => wire.post(WORKING, () => broker.working(consumer, stored.streamSeq)),
    again: (delayMs) => wire.post(AGAIN, () => broker.again(consumer, stored.streamSeq, delayMs)),
  });

  const find = async (): Promise<void> => {
    const found = await wire.call(DISCOVER, () => broker.find(shard));
    if (found !== undefined) known = found;
    foundAtMs = life.kernel.nowMs;
  };

  const next = async (): Promise<Delivery | undefined> => {
    try {
      if (known === undefined || known.isDeleted || life.kernel.nowMs - foundAtMs > REDISCOVER_MS) await find();
      const consumer = known;
      if (consumer === undefined) {
        await life.clock.sleep(100);
        return undefined;
      }
      const handedOut = await wire.hold<HandedOut | undefined>(PULL, (exchange) => broker.pull(consumer, exchange, PULL_MS));
      return handedOut === undefined ? undefined : deliveryOf(handedOut);
    } catch {
      known = undefined;
      await life.clock.sleep(50 + life.random.fraction() * 200);
      return undefined;
    }
  };
  const forget = (): void => {
    known = undefined;
  };
  return { next, close: forget, reconnected: forget };
};
