#!lua flags=allow-oom
--[[
  Changes two-phase messages that nobody changed since they were read: one call for what a turn of the event loop brings. allow-oom: it
  writes about as much as it replaces, and a message that ends is what frees memory.

  KEYS[1] {sN}:due
  KEYS[2] {sN}:messages:finished
  KEYS[3] {sN}:messages:dead
  then, for each message
  KEYS[+1] {sN}:message:<gid>
  ARGV[+1] gid
  ARGV[+2] version that was read
  ARGV[+3] when it is due, ms of Redis's clock | 'keep' | 'none'
  ARGV[+4] when it became a dead letter, ms | 'keep' | 'none'
  ARGV[+5] when the finished record expires, ms of Redis's clock | 'never'
  ARGV[+6] its state
  ARGV[+7] its definition | '' = as it was
  ARGV[+8] the reason of its last failure
  RETURNS for each message: 0 = changed, its version is one more | the fields and values that are there, none if there is no such message
  COST    O(log messages) each, at most 256
  SLOT    {sN}
]]
local count = #KEYS - 3
if count < 1 or count > 256 or #ARGV ~= 8 * count then return redis.error_reply('ERR message-change: takes 4 to 259 keys and 8 arguments a message') end
local answer, now_due, not_due, expiring = {}, {}, {}, {}
for i = 1, count do
  local key, at = KEYS[3 + i], 8 * i - 7
  local gid, version, due, dead, expires, definition = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 6]
  if redis.call('HGET', key, 'v') ~= version then
    answer[i] = redis.call('HGETALL', key)
  else
    if definition == '' then redis.call('HSET', key, 'v', version + 1, 's', ARGV[at + 5], 'e', ARGV[at + 7])
    else redis.call('HSET', key, 'v', version + 1, 's', ARGV[at + 5], 'e', ARGV[at + 7], 'd', definition) end
    -- the last change of a message in this call decides when it is due
    if due == 'none' then now_due[gid], not_due[gid] = nil, true
    elseif due ~= 'keep' then now_due[gid], not_due[gid] = due, nil end
    if dead == 'none' then redis.call('ZREM', KEYS[3], gid)
    elseif dead ~= 'keep' then redis.call('ZADD', KEYS[3], dead, gid) end
    if expires ~= 'never' then
      redis.call('PEXPIREAT', key, expires)
      expiring[#expiring + 1], expiring[#expiring + 2] = expires, gid
    end
    answer[i] = 0
  end
end
local scores, gone = {}, {}
for gid, due in pairs(now_due) do scores[#scores + 1], scores[#scores + 2] = due, gid end
for gid in pairs(not_due) do gone[#gone + 1] = gid end
if #scores > 0 then redis.call('ZADD', KEYS[1], unpack(scores)) end
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
if #expiring > 0 then redis.call('ZADD', KEYS[2], unpack(expiring)) end
return answer
