#!lua flags=no-writes
-- Read the log after a cursor, and the states that a client may have to be shown. What is too old may be among them.
--
-- KEYS  meta life log heads states
-- ARGV  now, "start", "end", or the epoch of a cursor, its offset, the highest version that the client has or nothing,
--       seconds that ended states are shown, seconds that entries are kept, seconds that running states are kept,
--       the messages that are kept
-- Returns now, epoch, offset, the messages, and key, head and payload of each state. Nothing: `begin` must run first.
-- include now
-- include life
-- include heads
local META, LIFE, LOG, HEADS, STATES = unpack(KEYS)
-- include current

local messages = {}
if ARGV[2] ~= "end" then
  local is_ours = ARGV[2] == epoch and tonumber(ARGV[3]) <= last
  local first = math.max(is_ours and tonumber(ARGV[3]) or 0, last - tonumber(ARGV[8])) + 1
  if first <= last then
    -- As many as there are at most: an epoch may begin above offsets that were lost.
    messages = redis.call("LRANGE", LOG, string.format("%.0f", first - last - 1), -1)
  end
end

local version, shown_after = tonumber(ARGV[4]), now - tonumber(ARGV[5])
local max_age, running_max_age = tonumber(ARGV[6]), tonumber(ARGV[7])
local function is_shown(head)
  if not head[IS_FINAL] or (version and head[VERSION] > version) then
    return true
  end
  return head[STORED_AT] >= shown_after and head[STATUS] ~= "dismissed" and head[STATUS] ~= "removed"
end

local states = {}
local heads = redis.call("HGETALL", HEADS)
for i = 1, #heads, 2 do
  local head = cmsgpack.unpack(heads[i + 1])
  if is_shown(head) and is_kept(head, now, max_age, running_max_age) then
    local count = #states
    states[count + 1] = heads[i]
    states[count + 2] = heads[i + 1]
    states[count + 3] = redis.call("HGET", STATES, heads[i])
  end
end
return { seconds(now), epoch, last, messages, states }
