#!lua flags=allow-oom
-- Write the bounds of histories and the rules of topics, unless what is in Redis has another schema.
-- KEYS: schema, retention, topics. ARGV: our schema, our retention, our rules, "1" if those of another node stay.
-- Returns the schema of what is there.
local schema = redis.call("GET", KEYS[1]) or ARGV[1]
if schema == ARGV[1] then
  redis.call("SET", KEYS[1], schema)
  for i = 2, 3 do
    redis.call(ARGV[4] == "1" and "SETNX" or "SET", KEYS[i], ARGV[i])
  end
end
return schema
