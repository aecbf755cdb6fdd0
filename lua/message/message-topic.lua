#!lua
--[[
  Replaces the subscribers of a topic if nobody changed them since they were read.

  KEYS[1] {s0}:topics
  ARGV[1] topic
  ARGV[2] what was read; empty if there was no such topic
  ARGV[3] what to store; empty to delete the topic
  RETURNS {'ok'} | {'changed', what is there, empty if there is no such topic}
  COST    O(1)
  SLOT    {s0}
]]
if #KEYS ~= 1 or #ARGV ~= 3 then return redis.error_reply('ERR message-topic: takes 1 key and 3 arguments') end
local before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if before ~= ARGV[2] then return { 'changed', before } end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return { 'ok' }
