#!lua
--[[
  Stores a two-phase message that did not exist. No allow-oom: at maxmemory a new message is refused, an old one can still end.

  KEYS[1] {sN}:message:<gid>
  KEYS[2] {sN}:due
  KEYS[3] {sN}:messages
  KEYS[4] {sN}:messages:finished
  ARGV[1] gid
  ARGV[2] time of creation, ms of Redis's clock
  ARGV[3] when it is due, ms of Redis's clock
  ARGV[4..] fields and values of the record
  RETURNS 'ok' | the fields and values of the message that is there
  COST    O(log messages)
  SLOT    {sN}
]]
if #KEYS ~= 4 or #ARGV < 5 or #ARGV > 100 then return redis.error_reply('ERR message-create: takes 4 keys and 5 to 100 arguments') end
local before = redis.call('HGETALL', KEYS[1])
if #before > 0 then return before end

local fields = {}
for i = 4, #ARGV do fields[i - 3] = ARGV[i] end
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[2], ARGV[1])
-- an expired record of the same gid may still wait for its purge, which would take the new one out of the list
redis.call('ZREM', KEYS[4], ARGV[1])
return 'ok'
