-- A visit that is inside sets aside the tokens that it may take: they count with those that were taken, by second.
-- KEYS: tokens (as in enter.lua)
-- ARGV: window ms, limit, tokens wanted, the second in which it set some aside before, how many: they are replaced
-- Answers as enter.lua does, its count without what is refused. Nobody gives back for a process that died: the window does.
local window, limit, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local before, own = ARGV[4], tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local spent, kept = 0, {}
local seconds = redis.call('HGETALL', KEYS[1])
for i = 1, #seconds, 2 do
  if seconds[i] * 1000 <= now - window then
    redis.call('HDEL', KEYS[1], seconds[i])
  else
    local others = tonumber(seconds[i + 1])
    if seconds[i] == before then
      others = others - own
    end
    spent = spent + others
    kept[#kept + 1] = {seconds[i] * 1000, others}
  end
end

if spent + wanted > limit then
  table.sort(kept, function(a, b) return a[1] < b[1] end)
  local left, wait = spent, window
  for _, each in ipairs(kept) do
    left = left - each[2]
    if left + wanted <= limit then
      wait = each[1] + window - now
      break
    end
  end
  return {'tokens', limit, spent, wait, now, 0}
end

if own > 0 and redis.call('HEXISTS', KEYS[1], before) == 1 then
  if redis.call('HINCRBY', KEYS[1], before, -own) <= 0 then
    redis.call('HDEL', KEYS[1], before)
  end
end
redis.call('HINCRBY', KEYS[1], time[1], wanted)
redis.call('PEXPIRE', KEYS[1], window + 1000)
return {'', limit, spent + wanted, window, now, wanted}
