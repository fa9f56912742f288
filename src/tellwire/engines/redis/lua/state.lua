#!lua flags=no-writes
-- Return now, and head and payload of a key's state, however old; empty if there is none.
--
-- KEYS  heads states
-- ARGV  now, key
-- include now
return { seconds(now), redis.call("HGET", KEYS[1], ARGV[2]) or "", redis.call("HGET", KEYS[2], ARGV[2]) or "" }
