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
-- <server> who this server is; the same text in every script that has it (snippets.test.ts)
local function server()
  local info = redis.call('INFO', 'replication')
  local replid = string.match(info, '\nmaster_replid:(%x+)\r')
  local primary = string.find(info, '\nrole:master\r', 1, true) ~= nil
  return replid, primary, info
end
-- </server>
-- <latch> the epoch if this shard may change here and now, else nil (DESIGN 4.3); the same text in every script that has it
local function latch(openKey, epochKey)
  local held = redis.call('MGET', openKey, epochKey)
  local open, epoch = held[1], held[2]
  if not open or not epoch then return nil end
  local replid, primary = server()
  if not primary or open ~= epoch .. ' ' .. replid then return nil end
  return epoch
end
-- </latch>
-- <settled> whether an entry is in Postgres (DESIGN 4.8): positions are compared within one epoch only; the same text in every script that has it
local function settledUpTo(appliedKey, epoch)
  local appliedEpoch, appliedSeq = string.match(redis.call('GET', appliedKey) or '', '^(%d+)-(%d+)$')
  return appliedEpoch == epoch and tonumber(appliedSeq) or 0
end
local function isSettled(entryEpoch, entrySeq, epoch, upTo)
  return tonumber(entryEpoch) < tonumber(epoch) or (entryEpoch == epoch and tonumber(entrySeq) <= upTo)
end
-- </settled>
-- 512 purchases are at most 2,048 values to HSET: well below the 4,000 or so at which unpack fails
local MOST_PURCHASES = 512
local DIGITS = { [0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9' }
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
  return redis.error_reply('BROKEN stock: reserve found it in the hash of the sale')
end

local packed, n = {}, 0
for purchase in string.gmatch(ARGV[4], '[^ ]+') do
  n = n + 1
  packed[n] = purchase
end
if n ~= count then return redis.error_reply('ERR reserve: counted ' .. n .. ' purchases, told ' .. count) end

-- where the limit is 1 and nobody sent a key or a number of units, a purchase is its own field and asks for 1: the fast case
local single = limit == 1
local fields, buyers, units, held, totals, totalOf = packed, nil, nil, nil, nil, nil
if single and not string.find(ARGV[4], ':', 1, true) then
  held = redis.call('HMGET', KEYS[6], unpack(packed))
else
  fields, buyers, units = {}, {}, {}
  for i = 1, count do
    local purchase = packed[i]
    if string.find(purchase, ':', 1, true) then
      local field, buyer, asked = string.match(purchase, '^(([^:]+):[^:]*):([1-9]%d*)$')
      asked = tonumber(asked)
      if not asked then return redis.error_reply('ERR reserve: not a packed purchase') end
      -- 0 marks a request that cannot be granted: more than the limit, or a key where the limit is 1
      if asked > limit or (single and #field > #buyer + 1) then asked = 0 end
      fields[i], buyers[i], units[i] = single and buyer or field, buyer, asked
    else
      fields[i], buyers[i], units[i] = single and purchase or purchase .. ':', purchase, 1
    end
  end
  if single then
    held = redis.call('HMGET', KEYS[6], unpack(fields))
  else
    local wanted = {}
    for i = 1, count do
      wanted[i], wanted[count + i] = fields[i], buyers[i]
    end
    held = redis.call('HMGET', KEYS[6], unpack(wanted))
    totalOf = {}
    for i = 1, count do totalOf[buyers[i]] = tonumber(held[count + i] or 0) end
  end
end

local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local refusal
if state == 'closed' or nowMs >= closesAtMs then refusal = 'e'
elseif nowMs < opensAtMs then refusal = 'n'
elseif state ~= 'open' then refusal = 'p'
elseif redis.call('XLEN', KEYS[4]) >= outboxLimit then refusal = 'b'
elseif moves == 0 then refusal = 'u'
end

-- winners, in order: what they sent, and their numbers by field, for repeats inside this batch
local decisions, won, numberOf, winners, taken = {}, {}, {}, {}, 0
local answer, answered, upTo = { '', 0, '', opensAtMs }, 4, nil
for i = 1, count do
  local reservation, field = held[i], fields[i]
  if reservation then
    local rejected, atEpoch, atSeq = string.match(reservation, '^(x?)(%d+)-(%d+)-')
    if not atEpoch then return redis.error_reply('BROKEN reservation: reserve found another value in a field of a buyer') end
    upTo = upTo or settledUpTo(KEYS[3], epoch)
    decisions[i] = rejected == 'x' and 'x' or (isSettled(atEpoch, atSeq, epoch, upTo) and 'c' or 'r')
    answered = answered + 1
    answer[answered] = reservation
  elseif numberOf[field] then
    decisions[i] = 'r'
    answered = answered + 1
    answer[answered] = numberOf[field]
  else
    local asked = units and units[i] or 1
    if asked == 0 then decisions[i] = 'm'
    elseif totalOf and totalOf[buyers[i]] + asked > limit then decisions[i] = 'l'
    elseif refusal then decisions[i] = refusal
    elseif asked > left then decisions[i] = 'd'
    else
      decisions[i] = 'w'
      left = left - asked
      taken = taken + asked
      local number = #won + 1
      won[number], winners[number] = packed[i], i
      numberOf[field] = number
      if totalOf then totalOf[buyers[i]] = totalOf[buyers[i]] + asked end
    end
  end
end
answer[2], answer[3] = left, table.concat(decisions)
if taken == 0 then return answer end

-- NOMKSTREAM: on a missing outbox the numbers would begin at 0 again
local id = redis.call(
  'XADD', KEYS[4], 'NOMKSTREAM', epoch .. '-*',
  'k', 'o', 's', ARGV[1], 't', nowMs, 'n', #won, 'b', #won == count and ARGV[4] or table.concat(won, ' ')
)
if not id then return 'recovering' end
redis.call('HINCRBY', KEYS[5], 'left', -taken)
local written, prefix = {}, nil
for number = 1, #won do
  local i = winners[number]
  -- turning a number into text is the dearest thing here, so only every tenth index is
  local digit = (number - 1) % 10
  if digit == 0 then prefix = id .. '-' .. (number > 10 and (number - 1) / 10 or '') end
  local at = 2 * number
  written[at - 1] = fields[i]
  written[at] = prefix .. DIGITS[digit] .. (units and '-' .. units[i] or '-1')
end
for k = 5, answered do
  if type(answer[k]) == 'number' then answer[k] = written[2 * answer[k]] end
end
if totalOf then
  local at = 2 * #won
  for number = 1, #won do
    local buyer = buyers[winners[number]]
    written[at + 1], written[at + 2] = buyer, DIGITS[totalOf[buyer]] or totalOf[buyer]
    at = at + 2
  end
end
redis.call('HSET', KEYS[6], unpack(written))
answer[1] = id
return answer
