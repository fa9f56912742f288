#!lua flags=allow-oom
-- Take the report of a node about its members of a topic. See shared/members.lua.
--
-- KEYS  members presence leaving channel
-- ARGV  now, an epoch, the seconds to live, the most that are named, the node, the number of the report (0: the node has
--       no members after it), the seconds after which leave whom it leaves alone; then for each user: "j" and an info or
--       nothing, or "l" and nothing
-- Returns epoch, number, count, and the number of the node's report before (0: none).
-- include now
-- include members
local NODE, REPORT, LATER = ARGV[5], ARGV[6], tonumber(ARGV[7])

local function join(user, info)
  local nodes, known = read_member(user)
  if not nodes then
    count = count + 1
    redis.call("HSET", MEMBERS, user, NODE .. " " .. info)
    note("j", user, info)
    return
  end
  info = info == "" and known or info
  local other = without(nodes, { [NODE] = true })
  if #other == #nodes or info ~= known then
    redis.call("HSET", MEMBERS, user, other .. NODE .. " " .. info)
  end
  if nodes == "" then
    redis.call("ZREM", LEAVING, user)
  end
  if info ~= known then
    note("j", user, info)
  end
end

local function leave(user)
  local nodes, info = read_member(user)
  local left = nodes and without(nodes, { [NODE] = true })
  if left == nodes then
    return
  end
  if left == "" and LATER == 0 then
    forget_member(user)
    return
  end
  redis.call("HSET", MEMBERS, user, left .. " " .. info)
  if left == "" then
    redis.call("ZADD", LEAVING, seconds(now + LATER), user)
  end
end

for i = 8, #ARGV, 3 do
  if ARGV[i] == "j" then
    join(ARGV[i + 1], ARGV[i + 2])
  else
    leave(ARGV[i + 1])
  end
end
local before = redis.call("HGET", PRESENCE, "@" .. NODE) or "0"
if REPORT == "0" then
  redis.call("HDEL", PRESENCE, "@" .. NODE)
else
  redis.call("HSETNX", PRESENCE, "e", ARGV[2])
  redis.call("HSET", PRESENCE, "@" .. NODE, REPORT)
end
local epoch, number = publish()
return { epoch, number, count, before }
