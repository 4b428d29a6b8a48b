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

-- Everything else. A function, so that what is in it is made only where it is needed. Entries are oldest first;
-- of each only numbers are unpacked, since a record under attack holds a thousand of them.
local function long_way(key, op, raw, ids, payload, panel)
  local NOTHING, LINK, LINK_TTL = '\0\0\0\0\0\0\0\0', 255, 2592000000
  local IN_FLIGHT, FAILED = 82, 70 -- 'R' and 'F', as bytes
  raw = raw or ''

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

  local horizon, lease, cap = number_at(panel, 1), number_at(panel, 13), number_at(panel, 19)
  local limits, number_of_rules = byte(panel, 25) == 1, byte(panel, 26)
  local threats, times, states, streams, size, body = {}, {}, {}, {}, 0, ''
  -- What a clock that stepped back makes us correct must be kept, even by a read: corrected anew each time, it
  -- would never grow old.
  local changed, corrected = false, false

  if raw ~= '' then
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
    local first = at
    while first <= #raw and number_at(raw, first) <= now - horizon do first = first + 23 end
    body, changed = sub(raw, first), first > at
    local rewritten = {}
    for entry = 1, #body, 23 do
      local a, b, c, d, e, f, state, high, low = byte(body, entry, entry + 8)
      local time = ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
      size = size + 1
      if time > now then -- no entry may outlive one window from now
        time = now
        rewritten[#rewritten + 1] = size
      end
      times[size], states[size], streams[size] = time, state, high * 256 + low
    end
    for _, i in ipairs(rewritten) do
      body, corrected = sub(body, 1, 23 * i - 23) .. six_bytes(now) .. sub(body, 23 * i - 16), true
    end
  end

  local function value_of(i) return sub(body, 23 * i - 13, 23 * i - 6) end
  local function owner_of(i) return sub(body, 23 * i - 5, 23 * i) end
  local function is_settled(i) return states[i] ~= IN_FLIGHT or now >= times[i] + lease end

  -- The entry of this id at or after the i-th, or nil.
  local function next_of(id, i)
    local at = 23 * i - 22
    while true do
      at = string.find(body, id, at, true)
      if not at then return end
      if at % 23 == 18 then return (at + 5) / 23 end
      at = at + 1
    end
  end

  local function set_state(i, letter)
    body = sub(body, 1, 23 * i - 17) .. letter .. sub(body, 23 * i - 15)
    states[i], changed = byte(letter), true
  end

  local function drop(i)
    body, size = sub(body, 1, 23 * i - 23) .. sub(body, 23 * i + 1), size - 1
    table.remove(times, i)
    table.remove(states, i)
    table.remove(streams, i)
  end

  -- What this operation brings: streams and their values.
  local given, values = {}, {}
  for at = 1, op == 'R' and #payload or op == 'F' and #payload or 0, 10 do
    local high, low = byte(payload, at, at + 1)
    given[#given + 1] = high * 256 + low
    values[high * 256 + low] = sub(payload, at + 2, at + 9)
  end

  local function append(letter)
    for at, stream in ipairs(given) do
      size = size + 1
      times[size], states[size], streams[size] = now, byte(letter), stream
      body = body .. six_bytes(now) .. letter .. sub(payload, 10 * at - 9, 10 * at) .. ids
      -- Each stream has its own cap, or an attacker could push one kind of event out with another.
      if size > cap then
        local count, oldest = 0, nil
        for i = 1, size do
          if streams[i] == stream then
            count = count + 1
            oldest = oldest or i
          end
        end
        if count > cap then drop(oldest) end
      end
    end
    changed = true
  end

  local rules, at = {}, 27
  for i = 1, number_of_rules do
    local after = at + 1 + 2 * byte(panel, at)
    local kind, length = byte(panel, after), byte(panel, after + 13)
    local rule = {
      streams = {}, distinct = kind % 2 == 1, limiting = kind >= 2,
      window = number_at(panel, after + 1), threshold = number_at(panel, after + 7),
      name = sub(panel, after + 14, after + 13 + length),
    }
    for stream = at + 1, after - 1, 2 do
      local high, low = byte(panel, stream, stream + 1)
      rule.streams[high * 256 + low] = true
    end
    for _, stream in ipairs(given) do
      if rule.streams[stream] and not rule.value then rule.value = values[stream] end
    end
    rules[i] = rule
    at = after + 14 + length
  end

  -- Entries of a rule within its window, or their distinct values: which of them count is 'failed', 'settled' or
  -- 'all'. → their number, and when the one was seen that would have to leave for the limit to have room.
  -- `extra` is a value to be counted as well.
  local function count(rule, which, extra)
    local since, watched, distinct = now - rule.window, rule.streams, rule.distinct
    local total, seen, pivot = 0, {}, nil
    for i = size, 1, -1 do
      if times[i] <= since then break end
      if watched[streams[i]] and (which == 'all' or which == 'failed' and states[i] == FAILED
          or which == 'settled' and is_settled(i)) then
        local value = distinct and value_of(i)
        if not distinct or value ~= NOTHING and not seen[value] then
          total = total + 1
          if distinct then seen[value] = true end
          if total == rule.threshold then pivot = times[i] end
        end
      end
    end
    if extra and (not distinct or extra ~= NOTHING and not seen[extra]) then total = total + 1 end
    return total, pivot
  end

  local status, retry_after = 0, 0
  local reply = {0, 0}

  if op == 'R' then
    local known = next_of(ids, 1)
    for _, rule in ipairs(rules) do
      if rule.limiting and rule.value and not known then
        local held, pivot = count(rule, 'settled')
        if held >= rule.threshold then
          status, retry_after = 2, math.max(retry_after, pivot + rule.window - now)
        elseif status == 0 and count(rule, 'all') >= rule.threshold then
          status = 1
        end
      end
    end
    for _, rule in ipairs(rules) do
      reply[#reply + 1] = rule.value and count(rule, 'failed', rule.value) or 0
      reply[#reply + 1] = threats[rule.name] and 1 or 0
    end
    -- Where nothing is limited what is in flight counts for nothing: only its failure will be written.
    if status == 0 and limits and not known then append('R') end
  elseif op == 'F' then
    local again, i = false, next_of(ids, 1)
    if not i then append('F') end
    while i do
      if states[i] == FAILED then again = true else set_state(i, 'F') end
      i = next_of(ids, i + 1)
    end
    for _, rule in ipairs(rules) do
      local total, state = 0, threats[rule.name] and 1 or 0
      if rule.value then
        total = count(rule, 'failed')
        if total >= rule.threshold and not again then
          if state == 0 then state = 2 end
          threats[rule.name], changed = now + rule.window, true
        end
      end
      reply[#reply + 1], reply[#reply + 2] = total, state
    end
  else
    for _, rule in ipairs(rules) do
      local total = count(rule, 'failed')
      reply[#reply + 1], reply[#reply + 2] = total, threats[rule.name] and 1 or 0
    end
    if op == 'X' then
      local forgiven, alike = {}, {}
      for piece = 1, #ids, 6 do forgiven[sub(ids, piece, piece + 5)] = true end
      for piece = 1, #payload, 10 do alike[sub(payload, piece, piece + 9)] = true end
      for i = 1, size do
        if is_settled(i) and alike[sub(body, 23 * i - 15, 23 * i - 6)] then forgiven[owner_of(i)] = true end
      end
      for i = size, 1, -1 do
        if forgiven[owner_of(i)] then
          drop(i)
          changed = true
        end
      end
    elseif op == 'U' then
      local i = next_of(ids, 1)
      while i do
        if states[i] == IN_FLIGHT then set_state(i, 'U') end
        i = next_of(ids, i + 1)
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
    out[#out + 1] = body
    if open == 0 and body == '' then
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
