#!lua flags=no-writes
-- Read who is in a topic. See shared/members.lua.
--
-- KEYS  members presence leaving
-- ARGV  now, the most members that are listed
-- Returns the count, 1 if some are to leave now, the fields of `presence`, and some members: user, info.
-- include now
local LIMIT = tonumber(ARGV[2])
local listed, cursor = {}, LIMIT > 0 and "0" or nil
while cursor do
  local found
  cursor, found = unpack(redis.call("HSCAN", KEYS[1], cursor, "COUNT", LIMIT))
  for i = 1, #found, 2 do
    if #listed < 2 * LIMIT then
      listed[#listed + 1] = found[i]
      listed[#listed + 1] = string.match(found[i + 1], "^%S* (.*)$")
    end
  end
  if cursor == "0" or #listed == 2 * LIMIT then
    cursor = nil
  end
end
return {
  redis.call("HLEN", KEYS[1]),
  math.min(1, redis.call("ZCOUNT", KEYS[3], "-inf", seconds(now))),
  redis.call("HGETALL", KEYS[2]),
  listed,
}
