#!lua flags=no-writes
-- Returns shut-outs of a user: those of the kinds in ARGV, or all without any. KEYS: shut-outs of the user.
if #ARGV == 0 then
  return redis.call("HVALS", KEYS[1])
end
return redis.call("HMGET", KEYS[1], unpack(ARGV))
