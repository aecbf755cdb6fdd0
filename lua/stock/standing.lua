#!lua flags=no-writes
--[[
  What the shard knows of some purchases of a sale.

  KEYS[1] {sN}:open
  KEYS[2] {sN}:epoch
  KEYS[3] {sN}:applied
  KEYS[4] {sN}:sale:<id>
  KEYS[5] {sN}:buyers:<id>
  then two a purchase, 1 to 512 purchases:
  ARGV[+1] buyer's id
  ARGV[+2] purchase key, empty by default; not looked at where the sale's limit is 1
  RETURNS {one character a purchase: - none, r reserved, c confirmed, x rejected; then the reservations of those that have one, in order}
          | recovering | unknown (no such sale here)
  COST    O(purchases)
  SLOT    {sN}
]]
-- @include server
-- @include latch
-- @include settled-up-to
-- @include is-settled
-- @include decisions
-- @include repeat-decision
local MOST_PURCHASES, NONE = 512, '-'
local count = #ARGV / 2
if #KEYS ~= 5 or #ARGV == 0 or #ARGV % 2 ~= 0 or count > MOST_PURCHASES then
  return redis.error_reply('ERR standing: takes 5 keys and a pair of arguments for each of 1 to 512 purchases')
end
local epoch = latch(KEYS[1], KEYS[2])
if not epoch then return 'recovering' end
local limit = redis.call('HGET', KEYS[4], 'limit')
if not limit then return 'unknown' end

local fields = {}
for i = 1, count do
  local uid, key = ARGV[2 * i - 1], ARGV[2 * i]
  fields[i] = limit == '1' and uid or uid .. ':' .. key
end
local held = redis.call('HMGET', KEYS[5], unpack(fields))
local upTo = settledUpTo(KEYS[3], epoch)
local states, answer = {}, { '' }
for i = 1, count do
  local reservation = held[i]
  states[i] = NONE
  if reservation then
    states[i] = repeatDecision(reservation, epoch, upTo)
    if not states[i] then return redis.error_reply('INVARIANT reservation: standing found another value in a field of a buyer') end
    answer[#answer + 1] = reservation
  end
end
answer[1] = table.concat(states)
return answer
