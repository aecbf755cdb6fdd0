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
  local promoted = string.find(info, '\nmaster_replid2:0*[^0\r]') ~= nil
  return replid, primary, promoted
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
local count = tonumber(ARGV[3])
if #KEYS ~= 6 or #ARGV ~= 4 or not count or count < 1 or count > MOST_PURCHASES then
  return redis.error_reply('ERR reserve: takes 6 keys, 4 arguments and 1 to 512 purchases')
end
local outboxLimit = tonumber(ARGV[2])
if not outboxLimit then return redis.error_reply('ERR reserve: the bound of the outbox must be a number') end

local epoch = latch(KEYS[1], KEYS[2])
if not epoch then return 'recovering' end
local sale = redis.call('HMGET', KEYS[5], 'state', 'left', 'limit', 'opens_at', 'closes_at', 'moves')
local state = sale[1]
if not state then return 'unknown' end
local left, limit, opensAtMs, closesAtMs, moves =
  tonumber(sale[2]), tonumber(sale[3]), tonumber(sale[4]), tonumber(sale[5]), tonumber(sale[6])
if not left or not limit or not opensAtMs or not closesAtMs or not moves then
  return redis.error_reply('ERR reserve: the hash of the sale is broken')
end

-- purchases: packed[i] as it came, fields[i] its field in the buyers' hash; buyers[i], units[i] where not implied
local packed, n = {}, 0
for purchase in string.gmatch(ARGV[4], '[^ ]+') do
  n = n + 1
  packed[n] = purchase
end
if n ~= count then return redis.error_reply('ERR reserve: counted ' .. n .. ' purchases, told ' .. count) end
local single = limit == 1
local plain = not string.find(ARGV[4], ':', 1, true)
local fields, buyers, units = packed, packed, nil
if not plain or not single then
  fields, buyers, units = {}, {}, {}
  for i = 1, count do
    local buyer, key, asked = packed[i], '', 1
    if string.find(buyer, ':', 1, true) then
      buyer, key, asked = string.match(buyer, '^([^:]+):([^:]*):([1-9]%d*)$')
      asked = tonumber(asked)
      if not asked then return redis.error_reply('ERR reserve: not a packed purchase') end
    end
    buyers[i], units[i] = buyer, asked
    fields[i] = single and buyer or buyer .. ':' .. key
    -- where the limit is 1 a purchase has no key and one unit; 0 marks a request that cannot be granted
    if asked > limit or (single and key ~= '') then units[i] = 0 end
  end
end

local held = redis.call('HMGET', KEYS[6], unpack(fields))
local totals, totalOf
if not single then
  totals, totalOf = redis.call('HMGET', KEYS[6], unpack(buyers)), {}
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

local decisions, answer, answered = {}, { '', 0, '', opensAtMs }, 4
local winners, wonAt, taken, upTo = {}, {}, 0, nil
local wonUnits = 0
for i = 1, count do
  local reservation, field = held[i], fields[i]
  if reservation then
    local rejected, atEpoch, atSeq = string.match(reservation, '^(x?)(%d+)-(%d+)-')
    if not atEpoch then return redis.error_reply('ERR reserve: not a reservation') end
    upTo = upTo or settledUpTo(KEYS[3], epoch)
    decisions[i] = rejected == 'x' and 'x' or (isSettled(atEpoch, atSeq, epoch, upTo) and 'c' or 'r')
    answered = answered + 1
    answer[answered] = reservation
  elseif wonAt[field] then
    decisions[i] = 'r'
    answered = answered + 1
    answer[answered] = wonAt[field]
  else
    local asked = units and units[i] or 1
    local total = totals and (totalOf[buyers[i]] or tonumber(totals[i] or 0)) or 0
    if asked == 0 then decisions[i] = 'm'
    elseif total + asked > limit then decisions[i] = 'l'
    elseif refusal then decisions[i] = refusal
    elseif asked > left - wonUnits then decisions[i] = 'd'
    else
      decisions[i] = 'w'
      taken = taken + 1
      winners[taken] = i
      wonAt[field] = taken
      wonUnits = wonUnits + asked
      if totals then totalOf[buyers[i]] = total + asked end
    end
  end
end
answer[2] = left - wonUnits
answer[3] = table.concat(decisions)
if taken == 0 then return answer end

local joined = ARGV[4]
if taken < count then
  local parts = {}
  for k = 1, taken do parts[k] = packed[winners[k]] end
  joined = table.concat(parts, ' ')
end
-- NOMKSTREAM: on a missing outbox the numbers would begin at 0 again
local id = redis.call('XADD', KEYS[4], 'NOMKSTREAM', epoch .. '-*', 'k', 'o', 's', ARGV[1], 't', nowMs, 'n', taken, 'b', joined)
if not id then return 'recovering' end
local written, w = {}, 0
for k = 1, taken do
  local i = winners[k]
  local reservation = id .. '-' .. (k - 1) .. '-' .. (units and units[i] or 1)
  written[w + 1], written[w + 2] = fields[i], reservation
  w = w + 2
  if totals then
    written[w + 1], written[w + 2] = buyers[i], totalOf[buyers[i]]
    w = w + 2
  end
end
redis.call('HINCRBY', KEYS[5], 'left', -wonUnits)
redis.call('HSET', KEYS[6], unpack(written))
-- a repeat inside the batch was noted by its winner's number
for k = 5, answered do
  local number = answer[k]
  if type(number) == 'number' then answer[k] = written[(totals and 4 or 2) * (number - 1) + 2] end
end
answer[1] = id
return answer
