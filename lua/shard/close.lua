#!lua flags=allow-oom
--[[
  Step 0 of an attempt to begin an epoch (DESIGN 7.1): from here on nothing is appended until `open`, because every appending script
  needs {sN}:open. allow-oom: see lease.

  {sN}:server holds who was closed: its replication id, and 1 if a replica can have these keys, else 0. Redis takes a new id
  when its first replica attaches and when it gives its backlog up (syncCommand and replicationCron of replication.c, Redis 7.0), so
  that a server of one id has the one answer for as long as it has that id.

  KEYS[1] {sN}:lease
  KEYS[2] {sN}:open
  KEYS[3] {sN}:attempt
  KEYS[4] {sN}:epoch
  KEYS[5] {sN}:outbox
  KEYS[6] {sN}:server
  ARGV[1] token of the coordinator
  ARGV[2] nonce of the attempt
  RETURNS {epoch or '', last id, replication id, attempt before or '', its server or ''} | not_holder | not_primary
  COST    O(1)
  SLOT    {sN}
]]
-- @include server
-- @include last-id
if #KEYS ~= 6 or #ARGV ~= 2 then return redis.error_reply('ERR close: takes 6 keys and 2 arguments') end
local replid, primary, info = server()
if not primary then return 'not_primary' end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'not_holder' end
local held, last = redis.call('MGET', KEYS[4], KEYS[3], KEYS[6]), lastId(KEYS[5])
local hasReplicas = string.find(info, '\nrepl_backlog_active:1\r', 1, true) ~= nil

redis.call('DEL', KEYS[2])
redis.call('MSET', KEYS[3], ARGV[2], KEYS[6], replid .. (hasReplicas and ' 1' or ' 0'))
return { held[1] or '', last, replid, held[2] or '', held[3] or '' }
