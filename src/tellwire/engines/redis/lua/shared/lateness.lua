-- Which state follows which: the rule of `upload_states` for all but parts. `spec/lateness.json` has its cases.
-- `p` is a publication, which also has the fields of a head, and `k` the known state of its key.
local PAST_RUNS_KEPT = 8
local REORDER_SECONDS = 10

-- Return the status that a superseded run had; nil: it is no such run. They are in one list: name, status, name, status.
local function past_status(k, run)
  local runs = k[PAST_RUNS] or {}
  for i = 1, #runs, 2 do
    if runs[i] == run then
      return runs[i + 1]
    end
  end
  return nil
end

local function past_runs_with(k)
  if not k[RUN] then
    return k[PAST_RUNS]
  end
  local runs = {}
  local before = k[PAST_RUNS] or {}
  for i = math.max(1, #before - 2 * (PAST_RUNS_KEPT - 1) + 1), #before do
    runs[#runs + 1] = before[i]
  end
  runs[#runs + 1] = k[RUN]
  runs[#runs + 1] = k[STATUS] or ""
  return runs
end

local function begins(p, k)
  if p[RUN] and p[RUN] ~= k[RUN] then
    return true
  end
  return p.begins_run and k[IS_FINAL] and (not p[RUN] or not k[RUN])
end

local function is_late(p, k, now)
  if p[STATUS] == "current" or p[STATUS] == "removed" then
    return p[PUBLISHED_AT] < k[PUBLISHED_AT] and now - k[STORED_AT] <= REORDER_SECONDS
  end
  if p[IS_FINAL] and not k[IS_FINAL] then
    return false
  end
  if k[PARTS] and not p[IS_FINAL] and not p[PARTS] then
    return true -- the whole is made of its parts
  end
  local begins_again = p.begins_run and (k[STATUS] == "failed" or k[STATUS] == "dismissed")
  if k[IS_FINAL] and not p[IS_FINAL] and not begins_again then
    return true
  end
  local arrived_apart = p[STATUS] and now - k[STORED_AT] > REORDER_SECONDS
  return p[PUBLISHED_AT] < k[PUBLISHED_AT] and not arrived_apart
end

-- A state of the known run keeps the run's name, and the names of those before.
local function continue(p, k)
  if p[RUN] ~= k[RUN] or k[PAST_RUNS] then
    p[RUN] = p[RUN] or k[RUN]
    p[PAST_RUNS] = k[PAST_RUNS]
    p.is_changed = true
  end
end

-- Return true if `p` follows `k`, and give it the runs that it has then. False: it is late.
local function follows(p, k, now)
  if p.replaces then
    if p.replaces ~= (k and k[VERSION] or 0) then
      return false
    end
    if k then
      continue(p, k)
    end
    return true
  end
  if not k then
    return true
  end
  if p[RUN] and past_status(k, p[RUN]) then
    return false
  end
  if begins(p, k) then
    p[PAST_RUNS] = past_runs_with(k)
    p.is_changed = true
    return true
  end
  if is_late(p, k, now) then
    return false
  end
  continue(p, k)
  return true
end
