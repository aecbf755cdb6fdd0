#!lua
--[[
  Stores two-phase messages that did not exist: one call for what a turn of the event loop brings. No allow-oom: at maxmemory new messages
  are refused, old ones can still end.

  KEYS[1] {sN}:due
  KEYS[2] {sN}:messages
  KEYS[3] {sN}:messages:finished
  then, for each message
  KEYS[+1] {sN}:message:<gid>
  ARGV[+1] gid
  ARGV[+2] time of creation, ms of Redis's clock
  ARGV[+3] when it is due, ms of Redis's clock
  ARGV[+4] its state, as coordinator/messages/record.ts writes it
  ARGV[+5] its definition
  ARGV[+6] until when its place is known to be right, ms of Redis's clock: a caller that was stopped must look again
  RETURNS for each message: 0 = stored | 1 = too late, nothing stored | the fields and values that are there: a message's, or `m` alone
          where message-yield said that its place is by another list
  COST    O(log messages) each, at most 256
  SLOT    {sN}
]]
-- @include now-ms
local count = #KEYS - 3
if count < 1 or count > 256 or #ARGV ~= 6 * count then return redis.error_reply('ERR message-create: takes 4 to 259 keys and 6 arguments a message') end
local now = nowMs()
local answer, due, created, gids = {}, {}, {}, {}
for i = 1, count do
  local at = 6 * i - 5
  local before = redis.call('HGETALL', KEYS[3 + i])
  if #before > 0 then
    answer[i] = before
  elseif now > tonumber(ARGV[at + 5]) then
    answer[i] = 1
  else
    redis.call('HSET', KEYS[3 + i], 'v', 1, 's', ARGV[at + 3], 'd', ARGV[at + 4])
    gids[#gids + 1] = ARGV[at]
    created[#created + 1], created[#created + 2] = ARGV[at + 1], ARGV[at]
    due[#due + 1], due[#due + 2] = ARGV[at + 2], ARGV[at]
    answer[i] = 0
  end
end
if #gids > 0 then
  redis.call('ZADD', KEYS[1], unpack(due))
  redis.call('ZADD', KEYS[2], unpack(created))
  -- an expired record of the same gid may still wait for its purge, which would take the new one out of the list
  redis.call('ZREM', KEYS[3], unpack(gids))
end
return answer
