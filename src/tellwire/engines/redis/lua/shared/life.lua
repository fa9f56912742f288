-- The generation of a bucket. It changes when its Redis may have lost acknowledged writes: another master, or one that
-- was started again. `life` has the replication id `r` of the Redis that wrote last, the generation `g`, and the highest
-- version `v` of all streams that were forgotten. A first generation is the time, so that a lost `life` is noticed, too.
local replication_id, replication_info

local function replication()
  if not replication_id then
    replication_info = redis.call("INFO", "replication")
    replication_id = string.match(replication_info, "master_replid:(%x+)")
  end
  return replication_id, replication_info
end

-- Return the generation, and the highest version. `trust` is "1" if a Redis that was started again has all that it has
-- acknowledged, "0" if it may not, and nothing if that is not known (yet). It counts as it was before the restart (`t`),
-- too; and such a Redis was neither promoted nor read from a snapshot: those know a second replication id.
local function generation_of(life_key, trust, now)
  local life = redis.call("HMGET", life_key, "r", "g", "v", "t")
  local id, info = replication()
  local generation = life[2]
  if life[1] ~= id then
    if not generation then
      generation = string.format("%.0f", now)
    elseif not (trust ~= "0" and life[4] == "1" and string.match(info, "master_replid2:0+%s")) then
      generation = string.format("%.0f", tonumber(generation) + 1)
    end
    redis.call("HSET", life_key, "r", id, "g", generation)
  end
  if trust ~= "" and life[4] ~= trust then
    redis.call("HSET", life_key, "t", trust)
  end
  return generation, tonumber(life[3] or 0)
end
