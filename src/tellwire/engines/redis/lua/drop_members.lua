#!lua flags=allow-oom
-- Remove members of a topic whose time to leave has come, and those of nodes that are dead, a part of them at a time. See
-- shared/members.lua.
--
-- KEYS  members presence leaving channel
-- ARGV  now, an epoch, the seconds to live, the most that are named, where to go on (at first "0"), how many at a time,
--       and the dead nodes
-- Returns where to go on ("0": it is done), and 1 if others are to leave now.
-- include now
-- include members
local AT_ONCE = tonumber(ARGV[6])
local due = redis.call("ZRANGEBYSCORE", LEAVING, "-inf", seconds(now), "LIMIT", 0, AT_ONCE)
for _, user in ipairs(due) do
  if read_member(user) == "" then
    forget_member(user)
  else
    redis.call("ZREM", LEAVING, user)
  end
end
local cursor = "0"
if #ARGV > 6 then
  local dead = {}
  for i = 7, #ARGV do
    dead[ARGV[i]] = true
  end
  local found
  cursor, found = unpack(redis.call("HSCAN", MEMBERS, ARGV[5], "COUNT", AT_ONCE))
  for i = 1, #found, 2 do
    local nodes, info = string.match(found[i + 1], "^(%S*) (.*)$")
    local left = without(nodes, dead)
    if left == "" and nodes ~= "" then
      forget_member(found[i])
    elseif left ~= nodes then
      redis.call("HSET", MEMBERS, found[i], left .. " " .. info)
    end
  end
  if cursor == "0" then
    for node in pairs(dead) do
      redis.call("HDEL", PRESENCE, "@" .. node)
    end
  end
end
publish()
return { cursor, #due == AT_ONCE and 1 or 0 }
