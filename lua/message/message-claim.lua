#!lua flags=allow-oom
--[[
  Takes messages that are due: each becomes due again after `hold`, so one that its taker dropped, or died with, comes back by itself.
  First puts off those of the call before for which the taker found no room, unless somebody else moved them: what waits for a dead
  endpoint must not come back again and again before all others. allow-oom: it only moves scores.

  KEYS[1] {sN}:due
  ARGV[1] how many at most, 1 to 1000
  ARGV[2] hold, ms
  ARGV[3] when what the call before took is due again, ms of Redis's clock
  ARGV[+1] gid of one to be put off
  ARGV[+2] how much later than that it shall be due, ms
  RETURNS {Redis's clock in ms, gid, ...}, those due longest first
  COST    O(log messages) each; nothing is written when nothing is due
  SLOT    {sN}
]]
-- @include now-ms
if #KEYS ~= 1 or #ARGV < 3 or #ARGV > 2003 or #ARGV % 2 ~= 1 then return redis.error_reply('ERR message-claim: takes 1 key and 3 to 2003 arguments') end
local limit = tonumber(ARGV[1])
if not limit or limit < 1 or limit > 1000 then return redis.error_reply('ERR message-claim: limit must be 1 to 1000') end
local now = nowMs()
local off = {}
for i = 4, #ARGV, 2 do
  if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or -1) == tonumber(ARGV[3]) then
    off[#off + 1], off[#off + 2] = ARGV[3] + ARGV[i + 1], ARGV[i]
  end
end
if #off > 0 then redis.call('ZADD', KEYS[1], 'XX', unpack(off)) end
local gids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, limit)
local answer, moves = { string.format('%d', now) }, {}
for i, gid in ipairs(gids) do
  answer[i + 1] = gid
  moves[2 * i - 1], moves[2 * i] = now + ARGV[2], gid
end
if #gids > 0 then redis.call('ZADD', KEYS[1], 'XX', unpack(moves)) end
return answer
