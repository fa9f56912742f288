#!lua flags=no-writes
-- Returns run, name of the file, total and number of rows of the list of one run, or of the one that began last. An
-- empty answer: there is none.
--
-- KEYS: the runs of an upload, see shared/row_lists.lua. ARGV: now, <run> or "", milliseconds that lists are kept.
-- include now
local keep_ms = tonumber(ARGV[3])
local found
local function consider(text)
  local list = text and cjson.decode(text)
  if list and list.at >= now - keep_ms / 1000 and (not found or list.number > found.number) then
    found = list
  end
end
if ARGV[2] ~= "" then
  consider(redis.call("HGET", KEYS[1], ARGV[2]))
else
  local runs = redis.call("HGETALL", KEYS[1])
  for i = 1, #runs, 2 do
    if runs[i] ~= "" then
      consider(runs[i + 1])
    end
  end
end
if not found then
  return {}
end
local total = 0
for _, of_part in pairs(found.totals) do
  total = total + tonumber(of_part)
end
return { found.run, found.name, string.format("%.0f", total), found.kept }
