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
-- @include server
-- @include latch
-- @include last-id
-- @include now-ms
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
