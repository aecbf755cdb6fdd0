#!lua flags=allow-oom
--[[
  Tells the shard up to where Postgres has applied its entries: raises the copy and drops those entries.
  Never lowers; another epoch's position changes nothing. allow-oom: it frees memory.

  KEYS[1] {sN}:open
  KEYS[2] {sN}:epoch
  KEYS[3] {sN}:applied
  KEYS[4] {sN}:outbox
  ARGV[1] epoch the position is of
  ARGV[2] seq of the last applied entry
  RETURNS ok | stale (not higher than what is there) | foreign (another epoch)
  COST    O(entries dropped)
  SLOT    {sN}
]]
-- @include server
-- @include latch
-- @include settled-up-to
-- @include last-id
if #KEYS ~= 4 or #ARGV ~= 2 then return redis.error_reply('ERR settle: takes 4 keys and 2 arguments') end
local epoch, seq = ARGV[1], tonumber(ARGV[2])
if not seq or not string.match(epoch, '^%d+$') then return redis.error_reply('ERR settle: epoch and seq must be numbers') end

if redis.call('GET', KEYS[2]) ~= epoch then return 'foreign' end
if seq <= settledUpTo(KEYS[3], epoch) then return 'stale' end
-- a server that came back with less is not open, and its next attempt compares it with Postgres
local lastEpoch, lastSeq = string.match(lastId(KEYS[4]), '^(%d+)-(%d+)$')
if (lastEpoch ~= epoch or tonumber(lastSeq) < seq) and latch(KEYS[1], KEYS[2]) then
  return redis.error_reply('INVARIANT settled: ' .. epoch .. '-' .. ARGV[2] .. ' is applied, and the open shard made no such entry')
end

redis.call('SET', KEYS[3], epoch .. '-' .. ARGV[2])
redis.call('XTRIM', KEYS[4], 'MINID', '=', epoch .. '-' .. string.format('%.0f', seq + 1))
return 'ok'
