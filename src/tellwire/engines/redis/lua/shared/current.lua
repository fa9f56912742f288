-- The epoch and the last offset of the stream of `META` and `LIFE`. If `begin` must run first, the script ends here.
local found = redis.call("HMGET", META, "e", "o", "g")
local life = redis.call("HMGET", LIFE, "r", "g")
if not found[1] or found[3] ~= life[2] or life[1] ~= replication() then
  return {}
end
local epoch, last = found[1], tonumber(found[2])
