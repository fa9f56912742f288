#!lua flags=no-writes
-- The end of a topic's stream, and who has subscribers. KEYS: conns, meta.
-- Returns: epoch, offset, version and newest state, and the nodes, each followed by the number of its subscribers.
local head = redis.call("HMGET", KEYS[2], "e", "o", "v", "s")
return { head[1], head[2], head[3], head[4], redis.call("HGETALL", KEYS[1]) }
