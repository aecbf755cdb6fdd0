#!lua flags=no-writes
--[[
  Everything the lease holder looks at, in one consistent reading.

  KEYS[1] {sN}:open
  KEYS[2] {sN}:epoch
  KEYS[3] {sN}:attempt
  KEYS[4] {sN}:applied
  KEYS[5] {sN}:lease
  KEYS[6] {sN}:outbox
  RETURNS {epoch, open, is open (1/0), replication id, is primary (1/0), attempt, applied, last id, outbox length,
          lease token, ms since 1970 by its clock}; a missing key reads as an empty string, a missing applied or last id as 0-0
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
  The epoch if this shard may change here and now, else nil (DESIGN 4.3).

  KEYS    {sN}:open, {sN}:epoch
  NEEDS   server
]]
local function latch(openKey, epochKey)
  local held = redis.call('MGET', openKey, epochKey)
  local open, epoch = held[1], held[2]
  if not open or not epoch then return nil end
  local replid, primary = server()
  if not primary or open ~= epoch .. ' ' .. replid then return nil end
  return epoch
end
--[[
  The last id ever given in a stream, 0-0 if there is none.

  KEYS    {sN}:outbox
]]
local function lastId(streamKey)
  if redis.call('EXISTS', streamKey) == 0 then return '0-0' end
  local facts = redis.call('XINFO', 'STREAM', streamKey)
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' then return facts[i + 1] end
  end
end
--[[
  This server's clock, ms since 1970.

  KEYS    none
]]
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
if #KEYS ~= 6 or #ARGV ~= 0 then return redis.error_reply('ERR shard-state: takes 6 keys and no argument') end
local texts = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
local replid, primary = server()
local atMs = nowMs()
local last = lastId(KEYS[6])
-- reserve never makes the stream: without it the shard does not sell, whatever the latch says
local isOpen = latch(KEYS[1], KEYS[2]) and last ~= '0-0'
return {
  texts[2] or '', texts[1] or '', isOpen and 1 or 0, replid, primary and 1 or 0,
  texts[3] or '', texts[4] or '0-0', last, redis.call('XLEN', KEYS[6]), texts[5] or '',
  atMs,
}
