-- Operations on the records of subjects, in order. See secguard/detection/store.py for what each one does.
--
-- KEYS[i] the record of the i-th operation
-- ARGV[1] now in ms, or '' for the server's clock (an application server's clock is never trusted)
-- and for each operation four:
--   operation: R reserve, F fail, X forget, U abandon, Q read, D reset, L link;
--     r, s, f, x: the same as R (s: where nothing is limited), F and X, where the short way below may be taken
--   ids of 6 bytes
--   payload: entries of 10 bytes (stream, value), or a link's target
--   panel, packed (one argument, since each costs the server more than what is done with it); numbers of 6 bytes:
--     horizon ms, shortest window ms, lease ms, entries kept of one stream,
--     1 byte: a rule limits, 1 byte number of rules, and for each rule
--     1 byte number of streams, streams of 2 bytes, 1 byte flags (1: distinct, 2: limiting), window ms, threshold,
--     1 byte length, name
--
-- Reply: for each operation {status, retry after ms, count, threat, count, threat, …}, {3, target} for a linked
-- record, or 1: there was nothing before, so that the caller knows the counts.
--
-- The record is packed (no struct library: not every engine has one):
--   1 byte   number of open threats, or 255 for a link, which is followed by the target's 16 bytes
--   threats  1 byte length, the rule's name, 6 bytes closing time
--   entries  6 bytes time, 1 byte state, 2 bytes stream, 8 bytes value, 6 bytes id: 23 in all, oldest first

local byte, char, sub, floor, concat = string.byte, string.char, string.sub, math.floor, table.concat
local call = redis.call

local now = tonumber(ARGV[1])
if not now then
  local clock = call('TIME')
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

-- A subject's first attempt, and that it failed or passed: nearly all there is in an attack from many addresses,
-- and with honest users. The same as below without unpacking anything, since a server that slept between two
-- attempts runs this with cold caches. (Measured: 50 µs less.) → 1, or nil for what is not that plain.
local function short_way(key, op, raw, ids, payload, panel)
  if op == 's' then
    if not raw then return 1 end
  elseif op == 'r' then
    if raw then return end
    call('SET', key, '\0' .. six_bytes(now) .. 'R' .. payload .. ids, 'PX', number_at(panel, 1))
    return 1
  elseif op == 'f' then
    local since
    if not raw then
      since = six_bytes(now)
    elseif #raw == 24 and sub(raw, 8) == 'R' .. payload .. ids and byte(raw, 1) == 0 then
      local time = number_at(raw, 2)
      if time > now or time <= now - number_at(panel, 7) then return end
      since = sub(raw, 2, 7)
    else
      return
    end
    call('SET', key, '\0' .. since .. 'F' .. payload .. ids, 'PX', number_at(panel, 1))
    return 1
  elseif not raw then
    return 1
  elseif #raw == 24 and sub(raw, 8, 8) == 'R' and sub(raw, 19) == ids and byte(raw, 1) == 0 then
    call('DEL', key)
    return 1
  end
end

-- Everything else. A function, so that what is in it is made only where it is needed.
local function long_way(key, op, raw, ids, payload, panel)
  local NOTHING, LINK, LINK_TTL = '\0\0\0\0\0\0\0\0', 255, 2592000000
  raw = raw or ''

  -- Is one of `text`'s pieces of `size` bytes equal to `piece`?
  local function has_piece(text, piece, size)
    for at = 1, #text, size do
      if sub(text, at, at + size - 1) == piece then return true end
    end
    return false
  end

  if op == 'D' then
    call('DEL', key)
    return {0, 0}
  end
  if op == 'L' then
    -- A record that still counts others' failures stays: an attack on this name must not end with a login.
    if raw ~= '' and byte(raw, 1) ~= LINK then return {0, 0} end
    call('SET', key, char(LINK) .. payload, 'PX', LINK_TTL)
    return {3, payload}
  end

  local horizon, limits, number_of_rules = number_at(panel, 1), byte(panel, 25) == 1, byte(panel, 26)
  local lease, cap = number_at(panel, 13), number_at(panel, 19)
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

  local rules, at = {}, 27
  for i = 1, number_of_rules do
    local after = at + 1 + 2 * byte(panel, at)
    local kind, length = byte(panel, after), byte(panel, after + 13)
    rules[i] = {
      streams = sub(panel, at + 1, after - 1), distinct = kind % 2 == 1, limiting = kind >= 2,
      window = number_at(panel, after + 1), threshold = number_at(panel, after + 7),
      name = sub(panel, after + 14, after + 13 + length),
    }
    at = after + 14 + length
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
    -- Where nothing is limited what is in flight counts for nothing: only its failure will be written.
    if status == 0 and not known and limits then append('R') end
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
      call('DEL', key)
    else
      call('SET', key, concat(out), 'PX', horizon)
    end
  end

  reply[1], reply[2] = status, retry_after
  return reply
end

local SHORT = {r = 'R', s = 'R', f = 'F', x = 'X'}
local replies = {}
for i = 1, #KEYS do
  local key, at = KEYS[i], 4 * i - 2
  local op, ids, payload, panel = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local raw, reply = call('GET', key), nil
  if SHORT[op] then reply = short_way(key, op, raw, ids, payload, panel) end
  replies[i] = reply or long_way(key, SHORT[op] or op, raw, ids, payload, panel)
end
return replies
