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
  The seq up to which this epoch's entries are in Postgres; 0 if none is known to be.

  KEYS    {sN}:applied
]]
local function settledUpTo(appliedKey, epoch)
  local appliedEpoch, appliedSeq = string.match(redis.call('GET', appliedKey) or '', '^(%d+)-(%d+)$')
  return appliedEpoch == epoch and tonumber(appliedSeq) or 0
end
--[[
  Whether an entry is in Postgres (DESIGN 4.8): positions are compared within one epoch only, and all of an earlier epoch is.
  `upTo` is settledUpTo's answer for `epoch`.

  KEYS    none
]]
local function isSettled(entryEpoch, entrySeq, epoch, upTo)
  return tonumber(entryEpoch) < tonumber(epoch) or (entryEpoch == epoch and tonumber(entrySeq) <= upTo)
end
--[[
  What became of a purchase, one character on the wire (core/codes.ts says what each means). Locals, because a table of them would be
  built by every run of a script.

  KEYS    none
]]
local WON = 'w'
local RESERVED = 'r'
local CONFIRMED = 'c'
local REJECTED = 'x'
local DRY = 'd'
local LIMIT_REACHED = 'l'
local NOT_OPEN = 'n'
local CLOSED = 'e'
local PAUSED = 'p'
local BUSY = 'b'
local UNSTOCKED = 'u'
local BAD_REQUEST = 'm'
--[[
  What a purchase with this reservation (fields.ts) is answered; nil if the text is no reservation. `upTo` is settledUpTo's answer
  for `epoch`.

  KEYS    none
  NEEDS   decisions, is-settled
]]
local function repeatDecision(reservation, epoch, upTo)
  local rejected, atEpoch, atSeq = string.match(reservation, '^(x?)(%d+)-(%d+)-')
  if not atEpoch then return nil end
  if rejected == 'x' then return REJECTED end
  return isSettled(atEpoch, atSeq, epoch, upTo) and CONFIRMED or RESERVED
end
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
