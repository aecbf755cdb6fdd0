#!lua
--[[
  Gives up a place for a message that is not there: while lists of different length are in use, whoever creates a message by the shorter one
  first makes sure that nobody creates it here by the longer one.

  KEYS[1] {sN}:message:<gid>
  ARGV[1] number of shards by which the message will be placed
  ARGV[2] how long this holds, ms: longer than anybody may go on not knowing of that list
  RETURNS 0 | the fields and values that are there: a message's, or `m` alone, an even shorter list
  COST    O(1)
  SLOT    {sN}
]]
if #KEYS ~= 1 or #ARGV ~= 2 then return redis.error_reply('ERR message-yield: takes 1 key and 2 arguments') end
local there = redis.call('HGETALL', KEYS[1])
if #there > 2 or (#there == 2 and tonumber(there[2]) < tonumber(ARGV[1])) then return there end
redis.call('HSET', KEYS[1], 'm', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 0
