#!lua flags=allow-oom
--[[
  Replaces fields of a two-phase message if nobody changed it since it was read. allow-oom: it writes about as much as it replaces, and a
  message that ends is what frees memory.

  KEYS[1] {sN}:message:<gid>
  KEYS[2] {sN}:due
  KEYS[3] {sN}:messages:finished
  KEYS[4] {sN}:messages:dead
  ARGV[1] gid
  ARGV[2] version that was read
  ARGV[3] when it is due, ms of Redis's clock | 'keep' | 'none'
  ARGV[4] when it became a dead letter, ms | 'keep' | 'none'
  ARGV[5] when the finished record expires, ms of Redis's clock | 'never'
  ARGV[6..] fields and values to set, the new version `v` among them
  RETURNS 'ok' | the fields and values that are there, none if there is no such message
  COST    O(log messages)
  SLOT    {sN}
]]
if #KEYS ~= 4 or #ARGV < 7 or #ARGV > 100 then return redis.error_reply('ERR message-change: takes 4 keys and 7 to 100 arguments') end
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[2] then return redis.call('HGETALL', KEYS[1]) end

local fields = {}
for i = 6, #ARGV do fields[i - 5] = ARGV[i] end
redis.call('HSET', KEYS[1], unpack(fields))
if ARGV[3] == 'none' then redis.call('ZREM', KEYS[2], ARGV[1])
elseif ARGV[3] ~= 'keep' then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) end
if ARGV[4] == 'none' then redis.call('ZREM', KEYS[4], ARGV[1])
elseif ARGV[4] ~= 'keep' then redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1]) end
if ARGV[5] ~= 'never' then
  redis.call('PEXPIREAT', KEYS[1], ARGV[5])
  redis.call('ZADD', KEYS[3], ARGV[5], ARGV[1])
end
return 'ok'
