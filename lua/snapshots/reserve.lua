#!lua
--[[
  Decides one batch of purchases of one sale, in order (DESIGN 4.3). For each, the first that applies: the first answer of this very
  purchase again; a request that cannot be granted; the buyer's limit; state and window of the sale; the outbox's bound; the stock
  (all units or none). Everything the winners change is one entry, one decrement and one write of their fields.

  KEYS[1] {sN}:open
  KEYS[2] {sN}:epoch
  KEYS[3] {sN}:applied
  KEYS[4] {sN}:outbox
  KEYS[5] {sN}:sale:<id>
  KEYS[6] {sN}:buyers:<id>
  ARGV[1] id of the sale
  ARGV[2] entries the outbox may hold
  ARGV[3] number of purchases, 1 to 512
  ARGV[4] the packed purchases (fields.ts), joined by a space
  RETURNS {id of the entry or '', left, one decision a purchase (codes.ts), opens_at, then the reservations of the decisions r, c and x
          in order}; the winners' reservations are implied: the entry's id, index 0, 1, ... and the units asked for
          | recovering | unknown (no such sale here)
  COST    O(purchases): one HMGET and, if anybody wins, one XADD, HINCRBY and HSET
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
--[[
  This server's clock, ms since 1970.

  KEYS    none
]]
local function nowMs()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- 512 purchases are at most 2,048 values to HSET: well below the 4,000 or so at which unpack fails
local MOST_PURCHASES = 512
local DIGITS = { [0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9' }

-- A packed purchase taken apart: its field in the buyers' hash, its buyer, the units it asks for; nil if it is none. 0 units mark a
-- request that cannot be granted: more than the limit, or a key where the limit is 1.
local function takeApart(purchase, limit)
  if not string.find(purchase, ':', 1, true) then return limit == 1 and purchase or purchase .. ':', purchase, 1 end
  local field, buyer, units = string.match(purchase, '^(([^:]+):[^:]*):([1-9]%d*)$')
  units = tonumber(units)
  if not units then return nil end
  local hasKey = #field > #buyer + 1
  if units > limit or (limit == 1 and hasKey) then units = 0 end
  return limit == 1 and buyer or field, buyer, units
end

-- What the winners sent, joined as it came.
local function packedOf(winners, packed)
  local sent = {}
  for number = 1, #winners do sent[number] = packed[winners[number]] end
  return table.concat(sent, ' ')
end

-- The winners' fields and reservations, in turn, as HSET takes them: the n-th winner's reservation is the 2n-th value.
local function reservationsOf(winners, id, fields, asks)
  local written, prefix = {}, nil
  for number = 1, #winners do
    local i = winners[number]
    -- turning a number into text is the dearest thing here, so only every tenth index is
    local digit = (number - 1) % 10
    if digit == 0 then prefix = id .. '-' .. (number > 10 and (number - 1) / 10 or '') end
    local at = 2 * number
    written[at - 1] = fields[i]
    written[at] = prefix .. DIGITS[digit] .. (asks and '-' .. asks[i].units or '-1')
  end
  return written
end

-- The winning buyers' totals as HSET takes them, behind what is there.
local function addTotals(written, winners, asks, totalOf)
  local at = #written
  for number = 1, #winners do
    local buyer = asks[winners[number]].buyer
    local total = totalOf[buyer]
    written[at + 1], written[at + 2] = buyer, DIGITS[total] or total
    at = at + 2
  end
end

local count, outboxLimit = tonumber(ARGV[3]), tonumber(ARGV[2])
if #KEYS ~= 6 or #ARGV ~= 4 or not count or count < 1 or count > MOST_PURCHASES or not outboxLimit then
  return redis.error_reply('ERR reserve: takes 6 keys and 4 arguments: sale, bound of the outbox, 1 to 512, that many purchases')
end

local epoch = latch(KEYS[1], KEYS[2])
if not epoch then return 'recovering' end
local sale = redis.call('HMGET', KEYS[5], 'state', 'left', 'limit', 'opens_at', 'closes_at', 'moves')
local state = sale[1]
if not state then return 'unknown' end
local left, limit, opensAtMs, closesAtMs, moves =
  tonumber(sale[2]), tonumber(sale[3]), tonumber(sale[4]), tonumber(sale[5]), tonumber(sale[6])
if not left or left < 0 or left % 1 ~= 0 or not limit or not opensAtMs or not closesAtMs or not moves then
  return redis.error_reply('INVARIANT stock: reserve found it in the hash of the sale')
end

local packed, n = {}, 0
for purchase in string.gmatch(ARGV[4], '[^ ]+') do
  n = n + 1
  packed[n] = purchase
end
if n ~= count then return redis.error_reply('ERR reserve: counted ' .. n .. ' purchases, expected ' .. count) end

-- The fast case: where the limit is 1 and nobody sent a key or a number of units, a purchase is its own field, asks for 1 and is not taken
-- apart (no `asks`). One HMGET looks up all fields and, where the limit is above 1, the totals of the buyers behind them.
local fields, asks, totalOf = packed, nil, nil
if limit ~= 1 or string.find(ARGV[4], ':', 1, true) then
  fields, asks = {}, {}
  for i = 1, count do
    local field, buyer, units = takeApart(packed[i], limit)
    if not field then return redis.error_reply('ERR reserve: not a packed purchase') end
    fields[i], asks[i] = field, { buyer = buyer, units = units }
  end
end
if limit ~= 1 then
  for i = 1, count do fields[count + i] = asks[i].buyer end
end
local held = redis.call('HMGET', KEYS[6], unpack(fields))
if limit ~= 1 then
  totalOf = {}
  for i = 1, count do totalOf[asks[i].buyer] = tonumber(held[count + i] or 0) end
end

local atMs = nowMs()
-- why nobody may buy at the moment, if so
local refusal
if state == 'closed' or atMs >= closesAtMs then refusal = CLOSED
elseif atMs < opensAtMs then refusal = NOT_OPEN
elseif state ~= 'open' then refusal = PAUSED
elseif redis.call('XLEN', KEYS[4]) >= outboxLimit then refusal = BUSY
elseif moves == 0 then refusal = UNSTOCKED
end

-- winners: their places in the batch, in order; numberOf: a winner's number by field; inBatch: that number by the place in the answer
-- of a repeat inside this batch, whose reservation is known when the entry has its id
local decisions, winners, numberOf, inBatch, wins, taken = {}, {}, {}, {}, 0, 0
local answer, answered, upTo = { '', 0, '', opensAtMs }, 4, nil
for i = 1, count do
  local reservation, field = held[i], fields[i]
  if reservation then
    upTo = upTo or settledUpTo(KEYS[3], epoch)
    local decision = repeatDecision(reservation, epoch, upTo)
    if not decision then return redis.error_reply('INVARIANT reservation: reserve found another value in a field of a buyer') end
    decisions[i] = decision
    answered = answered + 1
    answer[answered] = reservation
  elseif numberOf[field] then
    decisions[i] = RESERVED
    answered = answered + 1
    inBatch[answered] = numberOf[field]
  else
    local ask = asks and asks[i]
    local units = ask and ask.units or 1
    if units == 0 then decisions[i] = BAD_REQUEST
    elseif totalOf and totalOf[ask.buyer] + units > limit then decisions[i] = LIMIT_REACHED
    elseif refusal then decisions[i] = refusal
    elseif units > left then decisions[i] = DRY
    else
      decisions[i] = WON
      left = left - units
      taken = taken + units
      wins = wins + 1
      winners[wins] = i
      numberOf[field] = wins
      if totalOf then totalOf[ask.buyer] = totalOf[ask.buyer] + units end
    end
  end
end
answer[2], answer[3] = left, table.concat(decisions)
if wins == 0 then return answer end

-- NOMKSTREAM: on a missing outbox the numbers would begin at 0 again
local id = redis.call(
  'XADD', KEYS[4], 'NOMKSTREAM', epoch .. '-*',
  'k', 'o', 's', ARGV[1], 't', atMs, 'n', wins, 'b', wins == count and ARGV[4] or packedOf(winners, packed)
)
if not id then return 'recovering' end
redis.call('HINCRBY', KEYS[5], 'left', -taken)
local written = reservationsOf(winners, id, fields, asks)
for at, number in pairs(inBatch) do answer[at] = written[2 * number] end
if totalOf then addTotals(written, winners, asks, totalOf) end
redis.call('HSET', KEYS[6], unpack(written))
answer[1] = id
return answer
