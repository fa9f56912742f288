#!lua flags=no-writes
-- Returns the time, and of each index some of the leases that have expired, those first that did first: the number of
-- its key (from 0), the member, and its score.
--
-- KEYS: indexes of leases. ARGV: now, most of each index.
-- include now
local until_now = seconds(now)
local answer = { until_now }
for i, key in ipairs(KEYS) do
  local due = redis.call("ZRANGEBYSCORE", key, "-inf", until_now, "WITHSCORES", "LIMIT", 0, ARGV[2])
  for j = 1, #due, 2 do
    answer[#answer + 1] = i - 1
    answer[#answer + 1] = due[j]
    answer[#answer + 1] = due[j + 1]
  end
end
return answer
