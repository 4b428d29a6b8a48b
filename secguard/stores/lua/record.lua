-- One operation on the record of one subject. See secguard/detection/store.py for what each one does.
--
-- KEYS[1] the record
-- ARGV[1] operation: R reserve, F fail, X forget, U abandon, Q read, D reset, L link
-- ARGV[2] now in ms, or '' for the server's clock (an application server's clock is never trusted)
-- ARGV[3] ids of 6 bytes        ARGV[4] payload: entries of 10 bytes (stream, value), or a link's target
-- ARGV[5] lease ms              ARGV[6] entries kept of one stream              ARGV[7] horizon ms
-- ARGV[8…] six for each rule: name, streams of 2 bytes, distinct 0/1, window ms, threshold, limiting 0/1
--
-- Reply: {status, retry after ms, count, threat, count, threat, …}, or {3, target} for a linked record.
--
-- The record is packed (no struct library: not every engine has one):
--   1 byte   number of open threats, or 255 for a link, which is followed by the target's 16 bytes
--   threats  1 byte length, the rule's name, 6 bytes closing time
--   entries  6 bytes time, 1 byte state, 2 bytes stream, 8 bytes value, 6 bytes id: 23 in all, oldest first

local byte, char, sub, floor, concat = string.byte, string.char, string.sub, math.floor, table.concat
local key, op, ids, payload = KEYS[1], ARGV[1], ARGV[3], ARGV[4]
local now, lease, cap, horizon = tonumber(ARGV[2]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local NOTHING, LINK, LINK_TTL = '\0\0\0\0\0\0\0\0', 255, 2592000000

if op == 'D' then
  redis.call('DEL', key)
  return {0, 0}
end
if op == 'L' then
  -- A record that still counts others' failures stays: an attack on this name must not end with a login.
  local known = redis.call('GET', key)
  if known and byte(known, 1) ~= LINK then return {0, 0} end
  redis.call('SET', key, char(LINK) .. payload, 'PX', LINK_TTL)
  return {3, payload}
end

if not now then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + floor(clock[2] / 1000)
end

local function number_at(text, at)
  local a, b, c, d, e, f = byte(text, at, at + 5)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

local function six_bytes(number)
  local high, low = floor(number / 16777216), number % 16777216
  return char(floor(high / 65536), floor(high / 256) % 256, high % 256,
    floor(low / 65536), floor(low / 256) % 256, low % 256)
end

-- Is one of `text`'s pieces of `size` bytes equal to `piece`?
local function has_piece(text, piece, size)
  for at = 1, #text, size do
    if sub(text, at, at + size - 1) == piece then return true end
  end
  return false
end

local raw = redis.call('GET', key) or ''

-- A subject's first attempt, and that it failed: nearly all there is in an attack from many addresses. The
-- same as below, without unpacking anything; what is not that plain falls through.
local function first_attempt()
  local stream, value, since, record = sub(payload, 1, 2), sub(payload, 3), nil, nil
  if op == 'R' then
    record = char(0) .. six_bytes(now) .. 'R' .. payload .. ids
  else
    since = number_at(raw, 2)
    if since > now then return end
    record = sub(raw, 1, 7) .. 'F' .. sub(raw, 9)
  end
  local reply = {0, 0}
  for at = 8, #ARGV, 6 do
    local total = 0
    if ARGV[at + 1] == stream then
      if ARGV[at + 2] == '0' or value ~= NOTHING then total = 1 end
      if since and (total >= tonumber(ARGV[at + 4]) or since <= now - tonumber(ARGV[at + 3])) then return end
    elseif #ARGV[at + 1] > 2 then
      return
    end
    reply[#reply + 1], reply[#reply + 2] = total, 0
  end
  redis.call('SET', key, record, 'PX', horizon)
  return reply
end

if #payload == 10 and (op == 'R' and raw == '' or op == 'F' and #raw == 24 and byte(raw, 1) == 0
    and sub(raw, 8, 8) == 'R' and sub(raw, 9) == payload .. ids) then
  local reply = first_attempt()
  if reply then return reply end
end

-- And that it passed: nothing is left.
if op == 'X' and #raw == 24 and byte(raw, 1) == 0 and sub(raw, 8, 8) == 'R' and sub(raw, 19) == ids then
  redis.call('DEL', key)
  local reply = {0, 0}
  for _ = 8, #ARGV, 6 do
    reply[#reply + 1], reply[#reply + 2] = 0, 0
  end
  return reply
end

local threats, times, states, streams, values, owners, size = {}, {}, {}, {}, {}, {}, 0
-- What a clock that stepped back makes us correct must be kept, even by a read: corrected anew each time, it
-- would never grow old.
local changed, corrected = false, false

if #raw > 0 then
  local at = 2
  local open = byte(raw, 1)
  if open == LINK then return {3, sub(raw, 2)} end
  for _ = 1, open do
    local length = byte(raw, at)
    local closes = number_at(raw, at + 1 + length)
    -- A clock that stepped back must not keep a threat open for longer than a window.
    if closes > now + horizon then closes, corrected = now + horizon, true end
    if closes > now then threats[sub(raw, at + 1, at + length)] = closes end
    at = at + length + 7
  end
  for entry = at, #raw, 23 do
    local time = number_at(raw, entry)
    if time > now then time, corrected = now, true end -- no entry may outlive one window from now
    if time > now - horizon then
      size = size + 1
      times[size], states[size] = time, sub(raw, entry + 6, entry + 6)
      streams[size], values[size] = sub(raw, entry + 7, entry + 8), sub(raw, entry + 9, entry + 16)
      owners[size] = sub(raw, entry + 17, entry + 22)
    else
      changed = true
    end
  end
end

local function keep_if(wanted)
  local kept = 0
  for i = 1, size do
    if wanted(i) then
      kept = kept + 1
      times[kept], states[kept], streams[kept] = times[i], states[i], streams[i]
      values[kept], owners[kept] = values[i], owners[i]
    end
  end
  if kept < size then changed = true end
  size = kept
end

-- Each stream has its own cap, or an attacker could push one kind of event out with another.
local function drop_oldest(stream)
  local count, first = 0, nil
  for i = 1, size do
    if streams[i] == stream then
      count = count + 1
      first = first or i
    end
  end
  if count > cap then keep_if(function(i) return i ~= first end) end
end

local function append(state)
  for at = 1, #payload, 10 do
    size = size + 1
    times[size], states[size], owners[size] = now, state, ids
    streams[size], values[size] = sub(payload, at, at + 1), sub(payload, at + 2, at + 9)
    if size > cap then drop_oldest(streams[size]) end
  end
  changed = true
end

local function is_full()
  if size < cap then return false end
  for at = 1, #payload, 10 do
    local held = 0
    for i = 1, size do
      if streams[i] == sub(payload, at, at + 1) then held = held + 1 end
    end
    if held >= cap then return true end
  end
  return false
end

local function in_flight(i) return states[i] == 'R' and now < times[i] + lease end

-- Entries of a rule within its window for which wanted(i) holds: their number, or that of their distinct
-- values, and when each was last seen. `extra` is a value to be counted as well.
local function count(rule, wanted, extra)
  local since, total, seen, last = now - rule.window, 0, {}, {}
  for i = 1, size do
    if times[i] > since and (streams[i] == rule.streams or has_piece(rule.streams, streams[i], 2)) and wanted(i) then
      if not rule.distinct then
        total = total + 1
        last[total] = times[i]
      elseif values[i] ~= NOTHING then
        if not seen[values[i]] then total = total + 1 end
        seen[values[i]] = times[i]
      end
    end
  end
  if extra then
    if not rule.distinct then
      total = total + 1
    elseif extra ~= NOTHING and not seen[extra] then
      total = total + 1
    end
  end
  if rule.distinct then
    for _, time in pairs(seen) do last[#last + 1] = time end
  end
  return total, last
end

local function failed(i) return states[i] == 'F' end
local function settled(i) return not in_flight(i) end
local function any() return true end

local rules, limits = {}, false
for at = 8, #ARGV, 6 do
  rules[#rules + 1] = {
    name = ARGV[at], streams = ARGV[at + 1], distinct = ARGV[at + 2] == '1',
    window = tonumber(ARGV[at + 3]), threshold = tonumber(ARGV[at + 4]), limiting = ARGV[at + 5] == '1',
  }
  limits = limits or rules[#rules].limiting
end

-- The value that this operation brings for a rule, or nil if the rule does not count its stream.
local function value_for(rule)
  for at = 1, #payload, 10 do
    if has_piece(rule.streams, sub(payload, at, at + 1), 2) then return sub(payload, at + 2, at + 9) end
  end
end

local status, retry_after = 0, 0

local function limit(rule)
  local held, last = count(rule, settled)
  if held >= rule.threshold then
    table.sort(last)
    status = 2
    -- Room again when so many have left the window that one less than the threshold is left.
    retry_after = math.max(retry_after, last[held - rule.threshold + 1] + rule.window - now)
  elseif status == 0 and count(rule, any) >= rule.threshold then
    status = 1
  end
end

local reply = {0, 0}

if op == 'R' then
  local known = false
  for i = 1, size do known = known or owners[i] == ids end
  for _, rule in ipairs(rules) do
    if rule.limiting and not known and value_for(rule) then limit(rule) end
  end
  for _, rule in ipairs(rules) do
    local extra = value_for(rule)
    reply[#reply + 1] = extra and count(rule, failed, extra) or 0
    reply[#reply + 1] = threats[rule.name] and 1 or 0
  end
  -- Where nothing is limited what is in flight counts for nothing, and an attempt that another record refuses is
  -- taken back: neither may push a failure out of a full record.
  if status == 0 and not known and (limits or not is_full()) then append('R') end
elseif op == 'F' then
  local known, again = false, false
  for i = 1, size do
    if owners[i] == ids then
      known, again = true, again or states[i] == 'F'
      if states[i] ~= 'F' then states[i], changed = 'F', true end
    end
  end
  if not known then append('F') end
  for _, rule in ipairs(rules) do
    local total, state = 0, threats[rule.name] and 1 or 0
    if value_for(rule) then
      total = count(rule, failed)
      if total >= rule.threshold and not again then
        if state == 0 then state = 2 end
        threats[rule.name], changed = now + rule.window, true
      end
    end
    reply[#reply + 1], reply[#reply + 2] = total, state
  end
else
  for _, rule in ipairs(rules) do
    local total = count(rule, failed)
    reply[#reply + 1], reply[#reply + 2] = total, threats[rule.name] and 1 or 0
  end
  if op == 'X' then
    local forgiven = {}
    for i = 1, size do
      if has_piece(ids, owners[i], 6) or settled(i) and has_piece(payload, streams[i] .. values[i], 10) then
        forgiven[owners[i]] = true
      end
    end
    keep_if(function(i) return not forgiven[owners[i]] end)
  elseif op == 'U' then
    for i = 1, size do
      if owners[i] == ids and states[i] == 'R' then states[i], changed = 'U', true end
    end
  end
end

if corrected or changed and op ~= 'Q' then
  local out, open = {''}, 0
  for name, closes in pairs(threats) do
    open = open + 1
    out[#out + 1] = char(#name) .. name .. six_bytes(closes)
  end
  out[1] = char(open)
  for i = 1, size do
    out[#out + 1] = six_bytes(times[i]) .. states[i] .. streams[i] .. values[i] .. owners[i]
  end
  if open == 0 and size == 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, concat(out), 'PX', horizon)
  end
end

reply[1], reply[2] = status, retry_after
return reply
