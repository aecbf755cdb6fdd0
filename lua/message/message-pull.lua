#!lua flags=allow-oom
--[[
  Makes messages that are due late due now (dtm's resetCronTime).

  KEYS[1] {sN}:due
  ARGV[1] only those due later than so many ms from now
  ARGV[2] how many at most, 1 to 1000
  RETURNS {how many were pulled, how many such are left}
  COST    O(log messages) each
  SLOT    {sN}
]]
-- @include now-ms
if #KEYS ~= 1 or #ARGV ~= 2 then return redis.error_reply('ERR message-pull: takes 1 key and 2 arguments') end
local limit = tonumber(ARGV[2])
if not limit or limit < 1 or limit > 1000 then return redis.error_reply('ERR message-pull: limit must be 1 to 1000') end
local now = nowMs()
local later = '(' .. string.format('%d', now + ARGV[1])
local gids = redis.call('ZRANGEBYSCORE', KEYS[1], later, '+inf', 'LIMIT', 0, limit)
local moves = {}
for i, gid in ipairs(gids) do moves[2 * i - 1], moves[2 * i] = now, gid end
if #gids > 0 then redis.call('ZADD', KEYS[1], 'XX', unpack(moves)) end
return { #gids, redis.call('ZCOUNT', KEYS[1], later, '+inf') }
