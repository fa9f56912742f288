-- The time in epoch seconds: ARGV[1] or, if that is empty, Redis's own, which all nodes and producers share.
local function time_of(given)
  if given ~= "" then
    return tonumber(given)
  end
  local time = redis.call("TIME")
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local now = time_of(ARGV[1])

-- A time as text: Lua's own has too few digits.
local function seconds(time)
  return string.format("%.6f", time)
end
