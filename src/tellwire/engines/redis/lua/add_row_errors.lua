#!lua
-- Adds a chunk to a list of row errors. A place that is taken stays as it is, so a chunk may come twice. Returns lists
-- that are to be dropped: of this upload, and of the user.
--
-- KEYS: see shared/row_lists.lua.
-- ARGV: now, list, run, name of the file, part, total, rows in a list, bytes in a list, bytes of a user, lists of an
-- upload, milliseconds that all of it is kept, and place and text of each row, in the order of their places.
-- include now
-- include row_lists
local list_name, run, name, part, total = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local max_rows, max_bytes, max_user_bytes = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local max_lists, keep_ms = tonumber(ARGV[10]), tonumber(ARGV[11])
local FIRST = 12
-- Bytes of a list beside its rows, and of a row beside its text, about.
local LIST_COST, ROW_COST = 1024, 64
local DROPPED_AT_ONCE = 100

local upload, field = string.match(list_name, "^(%x+):(%x+)$")
local known = redis.call("HGET", RUNS, field)
local list
if known then
  list = cjson.decode(known)
else
  local number = redis.call("HINCRBY", RUNS, "", 1)
  list = { run = run, name = name, number = number, kept = 0, bytes = LIST_COST + #name, totals = {} }
end
local bytes_before = known and list.bytes or 0

-- As text: JSON here has numbers of 14 digits.
list.totals[part] = string.format("%.0f", math.max(tonumber(list.totals[part] or "0"), total))
-- Never before the last change of another one, though a clock is set back: it decides which lists are kept.
local newest = redis.call("ZREVRANGE", LISTS, 0, 0, "WITHSCORES")[2]
list.at = math.max(now, tonumber(newest or "0"))

if #ARGV >= FIRST then
  local is_new = redis.call("ZCOUNT", ROWS, ARGV[FIRST], ARGV[#ARGV - 1]) == 0
  local added = {}
  for i = FIRST, #ARGV, 2 do
    local size = #ARGV[i + 1] + ROW_COST
    if list.kept >= max_rows or list.bytes + size > max_bytes then
      break
    end
    if is_new or redis.call("ZCOUNT", ROWS, ARGV[i], ARGV[i]) == 0 then
      added[#added + 1] = ARGV[i]
      added[#added + 1] = ARGV[i + 1]
      list.kept = list.kept + 1
      list.bytes = list.bytes + size
    end
  end
  if #added > 0 then
    redis.call("ZADD", ROWS, unpack(added))
  end
end

redis.call("HSET", RUNS, field, cjson.encode(list))
redis.call("ZADD", LISTS, seconds(list.at), list_name)
redis.call("HSET", LIST_BYTES, list_name, list.bytes)
local bytes_of_all = redis.call("HINCRBY", LIST_BYTES, "", list.bytes - bytes_before)
for _, key in ipairs(KEYS) do
  redis.call("PEXPIRE", key, keep_ms)
end

local dropped = {}

-- Of this upload, all but the lists that changed last.
local runs = redis.call("HGETALL", RUNS)
local of_upload = {}
for i = 1, #runs, 2 do
  if runs[i] ~= "" then
    local other = cjson.decode(runs[i + 1])
    of_upload[#of_upload + 1] = { name = upload .. ":" .. runs[i], at = other.at, number = other.number }
  end
end
table.sort(of_upload, function(a, b)
  return a.at > b.at or (a.at == b.at and a.number > b.number)
end)
for i = max_lists + 1, #of_upload do
  dropped[#dropped + 1] = of_upload[i].name
end

-- Of the user, those that are too old, and those unchanged longest while all together have too many bytes.
local oldest = redis.call("ZRANGE", LISTS, 0, DROPPED_AT_ONCE - 1, "WITHSCORES")
for i = 1, #oldest, 2 do
  local is_too_old = tonumber(oldest[i + 1]) < now - keep_ms / 1000
  if oldest[i] == list_name or not (is_too_old or bytes_of_all > max_user_bytes) then
    break
  end
  dropped[#dropped + 1] = oldest[i]
  bytes_of_all = bytes_of_all - tonumber(redis.call("HGET", LIST_BYTES, oldest[i]) or "0")
end
return dropped
