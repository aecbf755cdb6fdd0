#!lua flags=allow-oom
--[[
  Step 4 of an attempt to begin an epoch (DESIGN 7.1): lets the shard sell. Only the attempt that closed it may, only while it holds the
  lease, and only on the very server it closed: a repeated open must not bless a server that restarted in between. The
  permission ends at a time rather than after one: this call may have been on its way, or this server asleep, for any time.

  KEYS[1] {sN}:lease
  KEYS[2] {sN}:open
  KEYS[3] {sN}:attempt
  KEYS[4] {sN}:epoch
  KEYS[5] {sN}:outbox
  ARGV[1] token of the coordinator
  ARGV[2] nonce of the attempt
  ARGV[3] replication id of the server that was closed
  ARGV[4] epoch
  ARGV[5] ms since 1970 by this server's clock at which the permission ends
  RETURNS ok | overtaken
  COST    O(1)
  SLOT    {sN}
]]
--[[
  Who this server is: its replication id, whether it is a primary, and all that INFO says of its replication.

  KEYS    none
]]
local function server()
  local info = redis.call('INFO', 'replication')
  local replid = string.match(info, '\nmaster_replid:(%x+)\r')
  local primary = string.find(info, '\nrole:master\r', 1, true) ~= nil
  return replid, primary, info
end
--[[
  This server's clock, ms since 1970.

  KEYS    none
]]
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
if #KEYS ~= 5 or #ARGV ~= 5 then return redis.error_reply('ERR open: takes 5 keys and 5 arguments') end
local replid, primary = server()
if not primary or replid ~= ARGV[3] then return 'overtaken' end
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('GET', KEYS[3]) ~= ARGV[2] or redis.call('GET', KEYS[4]) ~= ARGV[4]
  or redis.call('EXISTS', KEYS[5]) == 0 then
  return 'overtaken'
end
if nowMs() >= tonumber(ARGV[5]) then return 'overtaken' end
redis.call('SET', KEYS[2], ARGV[4] .. ' ' .. replid, 'PXAT', ARGV[5])
return 'ok'
