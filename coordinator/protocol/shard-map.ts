import { shardKeys } from "#lua/core/keys";

/** 32 bits of FNV-1a over the UTF-16 code units of `text`. */
const fnv1a = (text: string): number => {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
};

/** murmur3's finalizer: every bit of the input changes about half of the output's. */
const mix = (value: number): number => {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
};

/**
 * Rendezvous hash: the shard, out of 0 to `count` - 1, on which `name` has the greatest weight. When shards are added,
 * a name either stays or goes to a new one: 1/n of them go.
 */
export const shardOf = (name: string, count: number): number => {
  const hash = fnv1a(name);
  let best = 0;
  let most = -1;
  for (let shard = 0; shard < count; shard += 1) {
    const weight = mix(hash ^ mix(shard + 0x9e3779b9));
    if (weight > most) {
      most = weight;
      best = shard;
    }
  }
  return best;
};

/** A key of the shard: in Redis Cluster its slot is that of all the shard's keys. */
export const slotKeyOf = (shard: number): string => shardKeys(shard).epoch;
