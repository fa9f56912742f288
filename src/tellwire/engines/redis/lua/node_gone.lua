#!lua flags=allow-oom
-- Tell whether a node is dead, and with a third argument forget it: nobody takes its name for a day.
-- KEYS: live, gone. ARGV: now, name, 1 to forget it. Returns 1; 0: it lives, or somebody has forgotten it.
-- include now
local until_ = redis.call('ZSCORE', KEYS[1], ARGV[2])
if not until_ or tonumber(until_) >= now then
  return 0
end
if ARGV[3] ~= '' then
  redis.call('ZREM', KEYS[1], ARGV[2])
  redis.call('ZADD', KEYS[2], seconds(now), ARGV[2])
end
return 1
