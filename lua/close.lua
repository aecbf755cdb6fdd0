#!lua flags=allow-oom
--[[
  Step 0 of an attempt to begin an epoch (DESIGN 7.1): from here on nothing is appended until `open`, because every appending script
  needs {sN}:open. allow-oom: see lease.

  KEYS[1] {sN}:lease
  KEYS[2] {sN}:open
  KEYS[3] {sN}:attempt
  KEYS[4] {sN}:epoch
  KEYS[5] {sN}:outbox
  ARGV[1] token of the coordinator
  ARGV[2] nonce of the attempt
  RETURNS {epoch or '', last id, replication id, promoted (1/0)} | not_holder | not_primary
  COST    O(1)
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
-- <last-id> last id ever given in a stream, 0-0 if there is none; the same text in every script that has it
local function lastId(streamKey)
  if redis.call('EXISTS', streamKey) == 0 then return '0-0' end
  local facts = redis.call('XINFO', 'STREAM', streamKey)
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' then return facts[i + 1] end
  end
end
-- </last-id>
if #KEYS ~= 5 or #ARGV ~= 2 then return redis.error_reply('ERR close: takes 5 keys and 2 arguments') end
local replid, primary, promoted = server()
if not primary then return 'not_primary' end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'not_holder' end
local epoch, last = redis.call('GET', KEYS[4]), lastId(KEYS[5])

redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[3], ARGV[2])
return { epoch or '', last, replid, promoted and 1 or 0 }
