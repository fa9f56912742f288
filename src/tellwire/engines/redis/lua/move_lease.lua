#!lua flags=allow-oom
-- Moves leases of an index to other times, or removes them, unless they were renewed by now.
--
-- KEYS: an index of leases. ARGV: member, the score it had, and its new one ("": remove it), of each.
for i = 1, #ARGV, 3 do
  if redis.call("ZSCORE", KEYS[1], ARGV[i]) == ARGV[i + 1] then
    if ARGV[i + 2] == "" then
      redis.call("ZREM", KEYS[1], ARGV[i])
    else
      redis.call("ZADD", KEYS[1], "XX", ARGV[i + 2], ARGV[i])
    end
  end
end
