#!lua flags=no-writes
-- Read which members of a topic are of a node, a part of all at a time. See shared/members.lua.
-- KEYS: members. ARGV: node, where to go on (at first "0"), how many at a time.
-- Returns where to go on ("0": it is done), and users.
local cursor, found = unpack(redis.call("HSCAN", KEYS[1], ARGV[2], "COUNT", ARGV[3]))
local users = {}
for i = 1, #found, 2 do
  local nodes = string.match(found[i + 1], "^%S*")
  for at = 1, #nodes, 4 do
    if string.sub(nodes, at, at + 3) == ARGV[1] then
      users[#users + 1] = found[i]
    end
  end
end
return { cursor, users }
