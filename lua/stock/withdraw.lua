#!lua flags=allow-oom
--[[
  Takes free units out of a sale's stock on this shard for another shard (DESIGN 7.3): lowers `left` by the units wanted, or by all
  that are left if these are fewer, and appends a `withdrawn` entry. From there on the entry is the only place where those units are,
  until Postgres applies it. Only if the sale's stock moves are the caller's: of several that decide at once, and of a repeat after a lost
  answer, one is done. allow-oom: a full server sells nothing, so its units must be able to leave it.

  KEYS[1] {sN}:open
  KEYS[2] {sN}:epoch
  KEYS[3] {sN}:outbox
  KEYS[4] {sN}:sale:<id>
  ARGV[1] epoch the caller believes in
  ARGV[2] id of the sale
  ARGV[3] most units to take, from 1
  ARGV[4] number of the shard that receives them
  ARGV[5] the sale's stock moves on this shard as the caller saw them
  RETURNS {ok, id of the entry, units} | {dry} (no unit left) | {stale} (the stock moved since) | {closed} (for good) | {recovering}
          | {foreign} (another epoch) | {unknown} (no such sale here); nothing has changed unless ok
  COST    O(1)
  SLOT    {sN}
]]
-- @include server
-- @include latch
-- @include now-ms
if #KEYS ~= 4 or #ARGV ~= 5 then return redis.error_reply('ERR withdraw: takes 4 keys and 5 arguments') end
local epoch = latch(KEYS[1], KEYS[2])
if not epoch then return { 'recovering' } end
if epoch ~= ARGV[1] then return { 'foreign' } end
-- HINCRBY below would make the hash: a sale that is not here must not begin by side effect
local sale = redis.call('HMGET', KEYS[4], 'left', 'moves', 'state')
if not sale[1] then return { 'unknown' } end
if sale[2] ~= ARGV[5] then return { 'stale' } end
local left, units = tonumber(sale[1]), tonumber(ARGV[3])
if not string.match(sale[1], '^%d+$') or not string.match(sale[2], '^%d+$') then return redis.error_reply('INVARIANT stock: withdraw found it in the hash of the sale') end
if not string.match(ARGV[3], '^[1-9]%d*$') or #ARGV[3] > 10 then return redis.error_reply('ERR withdraw: units must be a number from 1') end
if not string.match(ARGV[4], '^%d+$') or #ARGV[4] > 6 then return redis.error_reply('ERR withdraw: receiver must be the number of a shard') end
-- units of a sale that is over rest: it is archived when none is on its way
if sale[3] == 'closed' then return { 'closed' } end
if left < 1 then return { 'dry' } end
if units > left then units = left end

local atMs = nowMs()
local text = string.format('%.0f', units)
-- NOMKSTREAM: on a missing outbox the numbers would begin at 0 again
local id = redis.call('XADD', KEYS[3], 'NOMKSTREAM', epoch .. '-*', 'k', 'w', 's', ARGV[2], 't', atMs, 'r', ARGV[4], 'u', text)
if not id then return { 'recovering' } end
redis.call('HINCRBY', KEYS[4], 'left', '-' .. text)
redis.call('HINCRBY', KEYS[4], 'moves', 1)
redis.call('HSET', KEYS[4], 'moved_at', id)
return { 'ok', id, units }
