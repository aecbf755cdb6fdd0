import type { Redis } from "ioredis";
import { SettingVerdict, type SettingProblems } from "#program/setting-problems";
import { redisProblems } from "#program/store-settings/redis";
import { brokerProblems } from "./log/broker-settings.ts";
import type { Broker } from "./log/broker.ts";
import type { StoreSettings } from "./shard-ports.ts";

export interface StoreSettingsOptions {
  readonly redis: Redis;
  /** its address without a password */
  readonly place: string;
  readonly broker: Broker;
  readonly maxBytes: number;
  readonly problems: SettingProblems;
}

/** What a shard's Redis and the broker are really set to. */
export const createStoreSettings = ({ redis, place, broker, maxBytes, problems }: StoreSettingsOptions): StoreSettings => ({
  refusals: async () => {
    const [ofRedis, ofBroker] = await Promise.all([redisProblems(redis), brokerProblems(broker, maxBytes)]);
    problems.note(place, ofRedis);
    problems.note("NATS", ofBroker);
    return [...ofRedis, ...ofBroker]
      .filter(({ verdict }) => verdict === SettingVerdict.refuse)
      .map(({ setting, found, wanted }) => `${setting} is ${found}, wanted is ${wanted}`);
  },
});
