/** What one key holds, as text that two equal contents share, and when it goes. */
export interface Stored {
  readonly text: string;
  /** ms of Redis's clock; compared exactly */
  readonly expiresAtMs?: number;
  /** ms from now; compared within a minute, so durations that shall be told apart differ by more */
  readonly expiresInMs?: number;
}

/** Everything that a server holds, by key. */
export type KeySpace = ReadonlyMap<string, Stored>;

/** The list that the scripts read the time from (lockstep.ts); no part of the key space. */
export const CLOCK_KEY = "clock";

/** Answers {key, type, PEXPIRETIME, content} of every key. */
export const DUMP = `
local found, keys = {}, redis.call('KEYS', '*')
table.sort(keys)
for _, key in ipairs(keys) do
  if key ~= '${CLOCK_KEY}' then
    local kind = redis.call('TYPE', key).ok
    local content
    if kind == 'string' then content = { redis.call('GET', key) }
    elseif kind == 'hash' then content = redis.call('HGETALL', key)
    elseif kind == 'set' then content = redis.call('SMEMBERS', key)
    elseif kind == 'zset' then content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    elseif kind == 'stream' then
      content = { redis.call('XINFO', 'STREAM', key)[8] }
      for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do
        content[#content + 1] = entry[1] .. ' ' .. table.concat(entry[2], ' ')
      end
    else content = { 'unknown' } end
    found[#found + 1] = { key, kind, redis.call('PEXPIRETIME', key), content }
  end
end
return found`;

type Dumped = readonly [key: string, kind: string, expiresAtMs: number, content: readonly string[]];

const pairs = (content: readonly (string | number)[]): string[] => {
  const found: string[] = [];
  for (let i = 0; i + 1 < content.length; i += 2) found.push(`${content[i]}=${content[i + 1]}`);
  return found;
};

const textOf = (kind: string, content: readonly string[]): string => {
  switch (kind) {
    case "hash":
      return hashText(pairs(content));
    case "set":
      return setText(content);
    case "zset":
      return `zset ${pairs(content).join("\n")}`;
    case "stream":
      return streamText(content[0] as string, content.slice(1));
    default:
      return `${kind} ${content[0]}`;
  }
};

export const stringText = (value: string): string => `string ${value}`;
const hashText = (pairs: string[]): string => `hash ${pairs.sort().join("\n")}`;
export const hashOf = (fields: Iterable<readonly [string, string | number]>): string =>
  hashText(Array.from(fields, ([field, value]) => `${field}=${value}`));
export const setText = (members: Iterable<string>): string => `set ${[...members].sort().join("\n")}`;
/** @param scores by member */
export const zsetText = (scores: ReadonlyMap<string, number>): string =>
  `zset ${[...scores]
    .sort(([a, scoreA], [b, scoreB]) => scoreA - scoreB || (a < b ? -1 : 1))
    .map(([member, score]) => `${member}=${score}`)
    .join("\n")}`;
/** @param entries `<id> <field> <value> ...` */
export const streamText = (lastId: string, entries: readonly string[]): string => `stream ${[lastId, ...entries].join("\n")}`;

const SLACK_MS = 60_000;

const isThen = (stored: Stored, expiresAtMs: number, nowMs: number): boolean => {
  if (stored.expiresAtMs !== undefined) return expiresAtMs === stored.expiresAtMs;
  if (stored.expiresInMs === undefined) return expiresAtMs === -1;
  return expiresAtMs !== -1 && Math.abs(expiresAtMs - nowMs - stored.expiresInMs) < SLACK_MS;
};

/** @returns what differs, a line a key; empty if nothing does */
export const differences = (expected: KeySpace, reply: unknown): string[] => {
  const dumped = reply as readonly Dumped[];
  const nowMs = Date.now();
  const lines: string[] = [];
  const seen = new Set<string>();
  for (const [key, kind, expiresAtMs, content] of dumped) {
    seen.add(key);
    const stored = expected.get(key);
    const text = textOf(kind, content);
    if (stored === undefined) lines.push(`${key}: there is ${text}, the model has no such key`);
    else if (stored.text !== text) lines.push(`${key}: there is ${text}, the model has ${stored.text}`);
    else if (!isThen(stored, expiresAtMs, nowMs))
      lines.push(`${key}: expires ${expiresAtMs - nowMs} ms from now, the model has ${JSON.stringify(stored)}`);
  }
  for (const [key, { text }] of expected) if (!seen.has(key)) lines.push(`${key}: is missing, the model has ${text}`);
  return lines;
};
