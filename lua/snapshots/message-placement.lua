#!lua flags=allow-oom
--[[
  Notes that somebody places gids by a list of `count` shards, here or elsewhere, and tells by which other lists messages that are still here may
  have been placed: a list whose last note is older than the oldest message, by a margin, has none left and is forgotten.

  KEYS[1] {sN}:messages:placements
  KEYS[2] {sN}:messages
  ARGV[1] number of shards that the caller places by; 0 = it places nothing here
  ARGV[2] margin, ms: a caller notes more often than that
  RETURNS {Redis's clock in ms, number of shards, when it was noted last, ...}
  COST    O(1)
  SLOT    {sN}
]]
--[[
  This server's clock, ms since 1970.

  KEYS    none
]]
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
if #KEYS ~= 2 or #ARGV ~= 2 then return redis.error_reply('ERR message-placement: takes 2 keys and 2 arguments') end
local now = nowMs()
local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
if ARGV[1] ~= '0' then redis.call('ZADD', KEYS[1], now, ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%d', math.min(now, oldest or now) - ARGV[2]))
local answer = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
table.insert(answer, 1, string.format('%d', now))
return answer
