#!lua flags=allow-oom
--[[
  Last step of an epoch that is rebuilt from Postgres (DESIGN 7.1 step 3): puts the staged keys of every sale in place, removes the
  sales that Postgres does not have or has archived, empties the outbox and takes the new epoch. Only for the attempt that closed the shard, on the
  server it closed. Touches no two-phase message. allow-oom: it frees more than it takes.

  KEYS[1] {sN}:epoch
  KEYS[2] {sN}:open
  KEYS[3] {sN}:attempt
  KEYS[4] {sN}:outbox
  KEYS[5] {sN}:applied
  KEYS[6] {sN}:sales
  KEYS[7] {sN}:archived
  then six a sale:
  KEYS[+1] {sN}:restore:<attempt>:sale:<id>
  KEYS[+2] {sN}:restore:<attempt>:buyers:<id>
  KEYS[+3] {sN}:restore:<attempt>:grants:<id>
  KEYS[+4] {sN}:sale:<id>
  KEYS[+5] {sN}:buyers:<id>
  KEYS[+6] {sN}:grants:<id>
  then three a dropped sale:
  KEYS[+1] {sN}:sale:<id>
  KEYS[+2] {sN}:buyers:<id>
  KEYS[+3] {sN}:grants:<id>
  ARGV[1] nonce of the attempt
  ARGV[2] replication id of the server that was closed
  ARGV[3] epoch that begins
  ARGV[4] number of sales
  ARGV[5] number of dropped sales
  then three a sale:
  ARGV[+1] its id
  ARGV[+2] fields its staged buyers' hash must have
  ARGV[+3] members its staged grants' set must have
  then one a dropped sale:
  ARGV[+1] its id
  RETURNS ok | duplicate (done before by this attempt) | overtaken | incomplete (a staged key is missing or counted differently, or
          {sN}:sales names a sale that is neither staged nor dropped); nothing has changed unless ok
  COST    O(sales): staged keys are renamed, old ones unlinked, whatever their size
  SLOT    {sN}
]]
-- @include server
-- @include empty-outbox
local SHARD_KEYS, SHARD_ARGS, SALE_FIELDS = 7, 5, 8
local saleCount, droppedCount = tonumber(ARGV[4]), tonumber(ARGV[5])
if not saleCount or not droppedCount or #KEYS ~= SHARD_KEYS + 6 * saleCount + 3 * droppedCount
  or #ARGV ~= SHARD_ARGS + 3 * saleCount + droppedCount then
  return redis.error_reply('ERR swap: keys and arguments do not match the number of sales')
end
local to = tonumber(ARGV[3])
if not to or to < 1 then return redis.error_reply('ERR swap: epoch must be a number from 1') end

local replid, primary = server()
if not primary or replid ~= ARGV[2] or redis.call('GET', KEYS[3]) ~= ARGV[1] then return 'overtaken' end
local epoch = redis.call('GET', KEYS[1])
if epoch == ARGV[3] then return 'duplicate' end
if epoch and tonumber(epoch) > to then return 'overtaken' end

local named = {}
for i = 0, saleCount - 1 do
  local key, arg = SHARD_KEYS + 6 * i, SHARD_ARGS + 3 * i
  named[ARGV[arg + 1]] = true
  if redis.call('HLEN', KEYS[key + 1]) ~= SALE_FIELDS
    or redis.call('HLEN', KEYS[key + 2]) ~= tonumber(ARGV[arg + 2])
    or redis.call('SCARD', KEYS[key + 3]) ~= tonumber(ARGV[arg + 3]) then
    return 'incomplete'
  end
end
for i = 1, droppedCount do named[ARGV[SHARD_ARGS + 3 * saleCount + i]] = true end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[6])) do
  if not named[id] then return 'incomplete' end
end

redis.call('DEL', KEYS[2], KEYS[6], KEYS[7])
for i = 1, 3 * droppedCount do redis.call('UNLINK', KEYS[SHARD_KEYS + 6 * saleCount + i]) end
for i = 0, saleCount - 1 do
  local key = SHARD_KEYS + 6 * i
  for part = 1, 3 do
    local staged, live = KEYS[key + part], KEYS[key + 3 + part]
    redis.call('UNLINK', live)
    -- a sale without buyers or grants has no such staged key
    if redis.call('PERSIST', staged) == 1 or redis.call('EXISTS', staged) == 1 then redis.call('RENAME', staged, live) end
  end
  redis.call('SADD', KEYS[6], ARGV[SHARD_ARGS + 3 * i + 1])
end
emptyOutbox(KEYS[4], ARGV[3])
redis.call('SET', KEYS[5], ARGV[3] .. '-0')
redis.call('SET', KEYS[1], ARGV[3])
return 'ok'
