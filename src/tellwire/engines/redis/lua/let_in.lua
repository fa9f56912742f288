#!lua flags=allow-oom
-- Removes all shut-outs of a user, and returns them. KEYS: shut-outs of the user.
local kept = redis.call("HVALS", KEYS[1])
redis.call("UNLINK", KEYS[1])
return kept
